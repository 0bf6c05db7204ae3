/** Talks to the box. */

import { maxBodyMb } from "./i18n.js";
import { queryOf } from "./settings.js";
import { currentToken } from "./token.js";
import { upload } from "./upload.js";

/**
 * @typedef {object} Prediction
 * @property {number} index
 * @property {string | null} wnid
 * @property {Record<string, string>} label By language.
 * @property {number} score Probability, 0 to 1.
 */

/** @typedef {{index: number, logit: number, values: number[][]}} ClassMap */
/** @typedef {{left: number, top: number, width: number, height: number}} Region In pixels. */

/**
 * @typedef {object} Result
 * @property {{name: string, variant: string, backend: string}} model
 * @property {Prediction[]} predictions Best first.
 * @property {boolean | null} sure Whether the best reaches the threshold in the model's card, if it has one.
 * @property {{decode: number, preprocess: number, queue: number, infer: number, total: number}} timings_ms
 * @property {{width: number, height: number, format: string | null}} image
 * @property {{region: Region, maps: ClassMap[]}} [explanation] When asked for.
 */

/**
 * @typedef {object} Model
 * @property {string} name
 * @property {string} title
 * @property {boolean} loaded
 * @property {{name: string}[]} [variants]
 * @property {string} [problem] Why it cannot answer.
 */

const MB = 1_000_000;

/** A refusal or failure. `code` names its words in the catalogue, `detail` has the server's own. */
export class ApiError extends Error {
  /**
   * @param {string} code
   * @param {string} [detail]
   * @param {number} [retryAfter] Seconds after which the box wants to be asked again.
   */
  constructor(code, detail = "", retryAfter = 0) {
    super(detail || code);
    this.code = code;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

/** @typedef {{status: number, text: string, retryAfter: string | null}} Reply */

/** @param {string} text @returns {any} What it means as JSON; null when it is none. */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    // What a proxy in between says is often no JSON.
    return null;
  }
}

/**
 * Read an answer, or the server's problem report (RFC 9457).
 * @param {Reply} reply
 * @returns {any}
 * @throws {ApiError}
 */
function readReply({ status, text, retryAfter }) {
  const body = parseJson(text);
  if (status >= 200 && status < 300 && body !== null) return body;
  const { code = "unknown", detail, hint } = body ?? {};
  const told = [detail ?? `HTTP ${status}`, hint].filter(Boolean).join(" ");
  throw new ApiError(code, told, status === 503 ? Number(retryAfter) || 0 : 0);
}

/** @param {string} token @returns {Record<string, string>} The header that carries it, if any. */
export function authorization(token) {
  // No header can carry such letters, so no box can have such a token.
  return token && /^[\x20-\x7e]+$/.test(token) ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * @param {string} path
 * @param {string} token
 * @param {{method?: string, headers?: Record<string, string>, body?: Blob, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function ask(path, token, options = {}) {
  const headers = { ...options.headers, ...authorization(token) };
  const response = await fetch(path, { ...options, headers }).catch(() => {
    throw new ApiError("network");
  });
  return readReply({ status: response.status, text: await response.text(), retryAfter: null });
}

/**
 * Ask the box what a picture shows.
 * @param {Blob} file
 * @param {import("./settings.js").Settings} chosen
 * @param {AbortSignal} signal
 * @param {(share: number) => void} [progress] Told how much has been sent, 0 to 1.
 * @returns {Promise<Result>}
 * @throws {ApiError}
 */
export async function classify(file, chosen, signal, progress = () => {}) {
  if (file.size > maxBodyMb * MB) throw new ApiError("body_too_large");
  const headers = { "Content-Type": file.type || "application/octet-stream", ...authorization(currentToken()) };
  const reply = await upload(`v1/classify?${queryOf(chosen)}`, file, headers, signal, progress);
  if (reply) return readReply(reply);
  // A file that cannot be read, such as a folder, fails in the same way as a silent server.
  const readable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
  throw new ApiError(readable ? "network" : "unreadable_file");
}

/**
 * Ask the box for something that needs the token.
 * @param {string} token
 * @throws {ApiError} `token_needed` when the token is wrong.
 */
export const checkToken = (token) => ask("v1/info", token);

/** @returns {Promise<{default: string, models: Model[]}>} @throws {ApiError} */
export const listModels = () => ask("v1/models", currentToken());

/** @param {Blob} file @returns {number} Its size in MB. */
export const megabytes = (file) => file.size / MB;

/** Talks to the box. */

import { maxBodyMb } from "./i18n.js";
import { currentToken } from "./token.js";

/**
 * @typedef {object} Prediction
 * @property {number} index
 * @property {string} wnid
 * @property {{en: string, zh: string}} label
 * @property {number} score Probability, 0 to 1.
 */

/**
 * @typedef {object} Result
 * @property {{name: string, variant: string, backend: string}} model
 * @property {Prediction[]} predictions Best first.
 * @property {{decode: number, preprocess: number, queue: number, infer: number, total: number}} timings_ms
 * @property {{width: number, height: number, format: string}} image
 */

const CLASSIFY = "v1/classify?top_k=5&lang=both";
const MB = 1_000_000;

/** A refusal or failure. `code` names its words in the catalogue, `detail` has the server's own. */
export class ApiError extends Error {
  /**
   * @param {string} code
   * @param {string} [detail]
   */
  constructor(code, detail = "") {
    super(detail || code);
    this.code = code;
    this.detail = detail;
  }
}

/**
 * The server's problem report (RFC 9457), or what can be said without one.
 * @param {Response} response
 */
async function readProblem(response) {
  const { code = "unknown", detail, hint } = await response.json().catch(() => ({}));
  return new ApiError(code, [detail ?? `HTTP ${response.status}`, hint].filter(Boolean).join(" "));
}

/**
 * Send a request with the token, and read the answer.
 * @param {string} path
 * @param {string} token
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
async function ask(path, token, options = {}) {
  const headers = new Headers(options.headers);
  try {
    if (token) headers.set("Authorization", `Bearer ${token}`);
  } catch {
    // No header can carry such letters, so no box can have such a token.
  }
  const response = await fetch(path, { ...options, headers }).catch(() => {
    throw new ApiError("network");
  });
  if (!response.ok) throw await readProblem(response);
  return response.json().catch(() => {
    throw new ApiError("unknown");
  });
}

/**
 * Ask the box what a picture shows.
 * @param {File} file
 * @param {AbortSignal} signal
 * @returns {Promise<Result>}
 * @throws {ApiError}
 */
export async function classify(file, signal) {
  if (file.size > maxBodyMb * MB) throw new ApiError("body_too_large");
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  try {
    return await ask(CLASSIFY, currentToken(), { method: "POST", body: file, headers, signal });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "network") throw error;
    // A file that cannot be read, such as a folder, fails in the same way as a silent server.
    const readable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
    throw readable ? error : new ApiError("unreadable_file");
  }
}

/**
 * Ask the box for something that needs the token.
 * @param {string} token
 * @throws {ApiError} `token_needed` when the token is wrong.
 */
export const checkToken = (token) => ask("v1/info", token);

/** @param {File} file @returns {number} Its size in MB. */
export const megabytes = (file) => file.size / MB;

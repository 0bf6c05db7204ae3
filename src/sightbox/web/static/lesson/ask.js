/** Asks the box for a walk through a network, and for the networks that are here. */

import { ApiError } from "../js/api.js";
import { maxBodyMb } from "../js/i18n.js";
import { currentToken } from "../js/token.js";

/** @typedef {{channel: number, low: number, high: number, png: string}} Plane */
/** @typedef {{name: string, ratio: number, planes: [Plane, Plane, Plane]}} Addition */

/**
 * @typedef {object} Step
 * @property {string} kind
 * @property {string | null} tensor Its name in the graph.
 * @property {number[]} shape
 * @property {string} dtype
 * @property {number | null} ms
 * @property {string[]} photos
 * @property {Plane[]} planes
 * @property {Addition[]} additions
 * @property {number[] | null} values
 * @property {Record<string, any>} facts
 */

/**
 * @typedef {object} Walk
 * @property {{name: string, title: string}} model
 * @property {Step[]} steps
 * @property {{index: number, label: Record<string, string>, score: number, logit: number}[]} best
 */

const MB = 1_000_000;

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  try {
    if (currentToken()) headers.set("Authorization", `Bearer ${currentToken()}`);
  } catch {
    // No header can carry such letters, so no box can have such a token.
  }
  const response = await fetch(path, { ...options, headers }).catch(() => {
    throw new ApiError("network");
  });
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  const { code = "unknown", detail, hint } = body ?? {};
  throw new ApiError(code, [detail ?? `HTTP ${response.status}`, hint].filter(Boolean).join(" "));
}

/**
 * @param {File} file
 * @param {string} model The network's name; empty for the default one.
 * @param {AbortSignal} signal
 * @returns {Promise<Walk>}
 * @throws {ApiError}
 */
export async function walkThrough(file, model, signal) {
  if (file.size > maxBodyMb * MB) throw new ApiError("body_too_large");
  const path = `v1/walkthrough${model ? `?model=${encodeURIComponent(model)}` : ""}`;
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  return ask(path, { method: "POST", body: file, headers, signal });
}

/** @returns {Promise<{name: string, title: string}[]>} The networks that are here, as they are. */
export async function listNetworks() {
  const { models } = await ask("v1/models");
  return models.filter((/** @type {{problem?: string}} */ model) => !model.problem);
}

/** @param {File} file @returns {number} Its size in MB. */
export const megabytes = (file) => file.size / MB;

/** Asks the box for a walk through a network, and for the networks that are here. */

import { ApiError, ask, listModels, megabytes } from "../js/api.js";
import { maxBodyMb } from "../js/i18n.js";
import { currentToken } from "../js/token.js";

/** @typedef {{channel: number, low: number, high: number, png: string}} Plane */
/** @typedef {{name: string, ratio: number, planes: [Plane, Plane, Plane]}} Addition */

/** @typedef {{index: number, label: Record<string, string>, score: number, logit: number}} Guess */

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
 * @property {[Guess, ...Guess[]]} best The best classes, best first.
 */

/**
 * @param {File} file
 * @param {string} model The network's name; empty for the default one.
 * @param {AbortSignal} signal
 * @returns {Promise<Walk>}
 * @throws {ApiError}
 */
export async function walkThrough(file, model, signal) {
  if (megabytes(file) > maxBodyMb) throw new ApiError("body_too_large");
  const path = `v1/walkthrough${model ? `?model=${encodeURIComponent(model)}` : ""}`;
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  return ask(path, currentToken(), { method: "POST", body: file, headers, signal });
}

/** @returns {Promise<import("../js/api.js").Model[]>} The networks that are here and can answer. */
export async function listNetworks() {
  const { models } = await listModels();
  return models.filter(({ problem }) => !problem);
}

/** Asks the box about the benchmark: how far a run is, to start one, to end it, for the report. */

import { ask, authorization } from "../js/api.js";
import { loadDocument } from "../js/documents.js";
import { currentToken } from "../js/token.js";

/**
 * @typedef {object} Progress
 * @property {boolean} running
 * @property {"" | "done" | "cancelled" | "failed"} outcome How the last run ended.
 * @property {string | null} problem Why it gave no report, or why that is not kept.
 * @property {string} way What is measured now.
 * @property {string} phase
 * @property {number | null} round
 * @property {number} done Steps.
 * @property {number} total
 * @property {number} seconds
 */

const RUN = "benchmark/run";

/** @returns {Promise<Progress>} @throws {import("../js/api.js").ApiError} */
export const readProgress = () => ask(RUN, currentToken());

/** @returns {Promise<Progress>} @throws {import("../js/api.js").ApiError} */
export const startRun = () => ask(RUN, currentToken(), { method: "POST" });

/** @returns {Promise<Progress>} @throws {import("../js/api.js").ApiError} */
export const cancelRun = () => ask(RUN, currentToken(), { method: "DELETE" });

/**
 * The report as the server draws it: a part of this very page.
 * @param {string} language
 * @returns {Promise<Element | null>}
 * @throws {import("../js/api.js").ApiError}
 */
export async function readReport(language) {
  const page = await loadDocument(`benchmark?lang=${language}`, authorization(currentToken()));
  return page.getElementById("report");
}

/** Asks the box about a picture as it was, as it is drawn anew, and as it was changed. */

import { ApiError, classify, megabytes } from "../js/api.js";
import { maxBodyMb } from "../js/i18n.js";
import { pauseFor } from "../js/pause.js";
import { compare, largestChange } from "./compare.js";

/** @typedef {import("../js/api.js").Result} Result */

/** A class beyond so many has less than a thousandth, which is shown as nothing. */
const ALL_CLASSES = 1000;

/**
 * @typedef {object} Answer
 * @property {Result} before For the original file.
 * @property {Result} now
 * @property {number} drift The largest change of a score that drawing the picture anew makes alone.
 */

/**
 * @typedef {object} Question
 * @property {File} file The original.
 * @property {import("../js/settings.js").Settings} asked What the original was asked with.
 * @property {() => Promise<Blob>} redraw The original as it is drawn without a change.
 * @property {(error: ApiError | null) => void} onPause Told why the box is asked again, then that it answered.
 */

/**
 * @param {Question} question
 * @returns {(changed: Blob | null, signal: AbortSignal) => Promise<Answer>} Rejects with an `ApiError`.
 *   Without a changed picture the answer for the original is the one now.
 */
export function createAsking({ file, asked, redraw, onPause }) {
  const chosen = { ...asked, topK: ALL_CLASSES, explain: false };
  /** @type {Result | undefined} */
  let before;
  /** @type {number | undefined} */
  let drift;

  /** @param {Blob} picture @param {AbortSignal} signal @returns {Promise<Result>} */
  async function ask(picture, signal) {
    for (;;) {
      try {
        const result = await classify(picture, chosen, signal);
        onPause(null);
        return result;
      } catch (error) {
        const { retryAfter = 0, code = "" } = error instanceof ApiError ? error : {};
        if (!retryAfter || code === "closed" || signal.aborted) throw error;
        onPause(/** @type {ApiError} */ (error));
        await pauseFor(retryAfter, signal);
      }
    }
  }

  /** @param {Result} original @param {AbortSignal} signal @returns {Promise<number>} */
  async function measureDrift(original, signal) {
    const picture = await redraw();
    // The box would refuse it, and a smaller one is not the same.
    if (megabytes(picture) > maxBodyMb) return 0;
    const redrawn = await ask(picture, signal);
    return largestChange(compare(original.predictions, redrawn.predictions, asked.topK));
  }

  return async (changed, signal) => {
    before ??= await ask(file, signal);
    if (!changed) return { before, now: before, drift: drift ?? 0 };
    drift ??= await measureDrift(before, signal);
    return { before, now: await ask(changed, signal), drift };
  };
}

/** Sets two answers beside each other. */

/** @typedef {import("../js/api.js").Prediction} Prediction */

/**
 * @typedef {object} Row
 * @property {Prediction} prediction Its names; the score is the one before.
 * @property {number} before Probability, 0 to 1.
 * @property {number} now
 * @property {boolean} fresh Whether it was not among the first before.
 */

/** @param {Prediction[]} predictions @returns {Map<number, number>} Score by class. */
const scoresOf = (predictions) => new Map(predictions.map(({ index, score }) => [index, score]));

/**
 * @param {Prediction[]} before All classes, best first.
 * @param {Prediction[]} now Likewise.
 * @param {number} count How many are the first.
 * @returns {Row[]} The first of before in their order, then those of now that have joined them.
 */
export function compare(before, now, count) {
  const [then, since] = [scoresOf(before), scoresOf(now)];
  const first = before.slice(0, count);
  const known = new Set(first.map(({ index }) => index));
  const joined = now.slice(0, count).filter(({ index }) => !known.has(index));
  return [...first, ...joined].map((prediction) => ({
    prediction,
    before: then.get(prediction.index) ?? 0,
    now: since.get(prediction.index) ?? 0,
    fresh: !known.has(prediction.index),
  }));
}

/** @param {Row[]} rows @returns {number} The largest change among them, 0 to 1. */
export const largestChange = (rows) => Math.max(0, ...rows.map(({ before, now }) => Math.abs(now - before)));

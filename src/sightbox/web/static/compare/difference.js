/** How far two answers to the same picture are apart. */

import { labelOf } from "../js/i18n.js";

/** @typedef {import("../js/api.js").Prediction} Prediction */
/** @typedef {import("../js/api.js").Result & {predictions: [Prediction, ...Prediction[]]}} Result With one class at least: no score is too low. */

/**
 * @typedef {object} Difference
 * @property {boolean} same Whether both name the same class first.
 * @property {number} change How much the score differs, 0 to 1: of the classes that come first, the
 *   larger change. A class that a side does not list counts as 0 there.
 * @property {number} rise How much higher the right one's first score is, -1 to 1.
 */

/** @param {Prediction} one @returns {string} What makes it the same class in two models. */
const classOf = (one) => one.wnid ?? labelOf(one, "en");

/** @param {Result} result @param {string} wanted @returns {number} */
const scoreOf = ({ predictions }, wanted) => predictions.find((one) => classOf(one) === wanted)?.score ?? 0;

/** @param {Result} left @param {Result} right @returns {Difference} */
export function differenceOf(left, right) {
  const [first, other] = [left.predictions[0], right.predictions[0]];
  const changes = [first, other].map(classOf).map((one) => Math.abs(scoreOf(left, one) - scoreOf(right, one)));
  return {
    same: classOf(first) === classOf(other),
    change: Math.max(...changes),
    rise: other.score - first.score,
  };
}

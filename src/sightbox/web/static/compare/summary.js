/** What all pictures together say about the two sides. */

import { SIDES } from "./ways.js";

/** @typedef {import("./pairs.js").Pair} Pair */

/**
 * @typedef {object} Summary
 * @property {number} count All pictures.
 * @property {number} compared Those that both sides answered.
 * @property {number} failed Those that a side failed at.
 * @property {number} pending Those that are on their way.
 * @property {number} same Those that both sides name the same.
 * @property {number} agreement Their part of the compared ones, 0 to 1.
 * @property {number} mean Mean change of the score, 0 to 1.
 * @property {number} largest Largest change of the score, 0 to 1.
 * @property {{left: number, right: number}} ms Mean time for a picture on each side, without waiting.
 */

/** @param {number[]} numbers @returns {number} Their mean; 0 of none. */
const meanOf = (numbers) => (numbers.length ? numbers.reduce((sum, one) => sum + one, 0) / numbers.length : 0);

/** @param {Pair} pair @returns {boolean} Whether a side has neither answer nor problem, and is to get one. */
export const isPending = (pair) => SIDES.some((side) => !["done", "failed", "stopped"].includes(pair[side].state));

/** @param {Pair[]} pairs @returns {Summary} */
export function summarise(pairs) {
  const compared = pairs.filter(({ difference }) => difference);
  const changes = compared.map(({ difference }) => difference?.change ?? 0);
  const same = compared.filter(({ difference }) => difference?.same).length;
  /** @param {import("./ways.js").Side} side */
  const time = (side) => meanOf(pairs.flatMap((pair) => {
    const timings = pair[side].result?.timings_ms;
    return timings ? [timings.total - timings.queue] : [];
  }));
  return {
    count: pairs.length,
    compared: compared.length,
    failed: pairs.filter((pair) => SIDES.some((side) => pair[side].state === "failed")).length,
    pending: pairs.filter(isPending).length,
    same,
    agreement: compared.length ? same / compared.length : 0,
    mean: meanOf(changes),
    largest: Math.max(0, ...changes),
    ms: { left: time("left"), right: time("right") },
  };
}

/** What the tools over the picture have in common. */

/** @typedef {import("./edits.js").Point} Point */
/** @typedef {import("./frame.js").Frame} Frame */

/**
 * @typedef {object} Tool Takes what a pointer and keys do. Points are in the frame, in its pixels.
 * @property {(point: Point) => void} hover
 * @property {(point: Point) => void} down
 * @property {(point: Point) => void} move While the pointer is down.
 * @property {() => void} up
 * @property {(step: Point, shift: boolean) => void} arrow The step is -1, 0 or 1 in each direction.
 * @property {() => void} act Space and Enter.
 * @property {() => void} show Puts the mark where it belongs.
 * @property {() => Point} place The middle of the mark, each from 0 to 1.
 */

/** @typedef {{left: number, top: number, width: number, height: number}} Part Of a frame, each 0 to 1. */

/** @param {HTMLElement} mark @param {Part} part */
export function putMark(mark, part) {
  for (const [name, value] of Object.entries(part)) mark.style.setProperty(`--${name}`, String(value));
}

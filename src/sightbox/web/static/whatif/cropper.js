/** The frame that crops: drawn by dragging, or moved and sized step by step and then applied. */

import { put } from "./edits.js";
import { cropBetween, LEAST_SIDE, within } from "./frame.js";
import { change, frame, operations } from "./session.js";
import { putMark } from "./tools.js";
import { cropMark } from "./view.js";

/** @typedef {import("./edits.js").Point} Point */
/** @typedef {import("./tools.js").Part} Part */

/** How far a key moves the frame, of the picture's side. */
const STEP = 0.02;
/** The least side of a frame that keys make, likewise. */
const LEAST = 0.05;
/** What a frame takes before anybody has drawn one. @type {Part} */
const MIDDLE = { left: 0.1, top: 0.1, width: 0.8, height: 0.8 };

let part = MIDDLE;
/** Where the pointer went down, and where it is. @type {[Point, Point] | null} */
let drag = null;

const place = () => ({ x: part.left + part.width / 2, y: part.top + part.height / 2 });

function show() {
  putMark(cropMark, part);
}

/** @param {number} one @param {number} other @param {number} whole @returns {{first: number, size: number}} */
function span(one, other, whole) {
  const [low, high] = [Math.min(one, other), Math.max(one, other)].map((end) => within(end / whole, 1));
  return { first: low ?? 0, size: (high ?? 1) - (low ?? 0) };
}

/** @param {[Point, Point]} corners In the frame. */
function draw([one, other]) {
  const across = span(one.x, other.x, frame().width);
  const down = span(one.y, other.y, frame().height);
  part = { left: across.first, top: down.first, width: across.size, height: down.size };
  show();
}

/** @param {Point} middle Each 0 to 1. @param {number} width @param {number} height Likewise. */
function lay(middle, width, height) {
  const [wide, high] = [within(width - LEAST, 1 - LEAST) + LEAST, within(height - LEAST, 1 - LEAST) + LEAST];
  const [left, top] = [within(middle.x - wide / 2, 1 - wide), within(middle.y - high / 2, 1 - high)];
  part = { left, top, width: wide, height: high };
  show();
}

/** @param {[Point, Point]} drag @returns {boolean} Whether it is more than a tap. */
const isDrawn = ([one, other]) =>
  Math.abs(one.x - other.x) >= LEAST_SIDE && Math.abs(one.y - other.y) >= LEAST_SIDE;

/** Crop to the frame, which is then offered anew. */
export function crop() {
  const { width, height } = frame();
  const upperLeft = { x: part.left * width, y: part.top * height };
  const lowerRight = { x: (part.left + part.width) * width, y: (part.top + part.height) * height };
  part = MIDDLE;
  change(put(operations(), cropBetween(frame(), upperLeft, lowerRight), null));
}

/** @param {number} share Of the picture's sides, for both of the frame's. */
export function resize(share) {
  lay(place(), share, share);
}

/** @type {import("./tools.js").Tool} */
export const cropper = {
  hover: () => {},
  show,
  place,
  act: crop,
  down(point) {
    drag = [point, point];
  },
  move(point) {
    if (!drag) return;
    drag = [drag[0], point];
    if (isDrawn(drag)) draw(drag);
  },
  up() {
    if (!drag) return;
    const [point] = drag;
    // One who cannot drag taps: the frame comes there.
    if (isDrawn(drag)) crop();
    else lay({ x: point.x / frame().width, y: point.y / frame().height }, part.width, part.height);
    drag = null;
  },
  arrow(step, shift) {
    const [x, y] = [step.x * STEP, step.y * STEP];
    if (shift) lay(place(), part.width + 2 * x, part.height + 2 * y);
    else lay({ x: place().x + x, y: place().y + y }, part.width, part.height);
  },
};

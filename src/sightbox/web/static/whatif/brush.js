/** The brush: with a pointer as one expects it, with keys step by step. */

import { put } from "./edits.js";
import { toPicture, within } from "./frame.js";
import { change, frame, operations, rest } from "./session.js";
import { putMark } from "./tools.js";
import { brushMark, brushSize, shareOf, tool } from "./view.js";

/** @typedef {import("./edits.js").Point} Point */
/** @typedef {import("./edits.js").Stroke} Stroke */

/** A key moves the brush by this part of its diameter. */
const STEP = 0.25;

/** Where the brush is, each 0 to 1 of the frame, so that it stays when the frame changes. */
let at = { x: 0.5, y: 0.5 };
/** What goes on growing. @type {Stroke | null} */
let stroke = null;

/** @returns {number} In pixels. */
const diameter = () => Math.max(1, shareOf(brushSize) * Math.min(frame().width, frame().height));

/** @returns {Point} Where the brush is, in the picture. */
const tip = () => toPicture(frame(), { x: at.x * frame().width, y: at.y * frame().height });

function show() {
  const [width, height] = [diameter() / frame().width, diameter() / frame().height];
  putMark(brushMark, { left: at.x - width / 2, top: at.y - height / 2, width, height });
}

/** @param {Point} point */
function hover(point) {
  at = { x: within(point.x / frame().width, 1), y: within(point.y / frame().height, 1) };
  show();
}

/** @param {Point} from @returns {Stroke} One that has only begun. */
const begin = (from) => ({
  kind: "stroke", paint: tool() === "blur" ? "blur" : "grey", size: diameter(), points: [from],
});

/** @param {boolean} held Whether it goes on. @param {Point} [from] Where a new stroke begins. */
function paint(held, from = tip()) {
  const previous = stroke;
  const before = previous ?? begin(from);
  stroke = { ...before, points: [...before.points, tip()] };
  change(put(operations(), stroke, previous), held);
}

/** @param {Point} step @param {boolean} shift */
function arrow(step, shift) {
  const from = tip();
  const pixels = Math.max(1, STEP * diameter());
  hover({ x: at.x * frame().width + step.x * pixels, y: at.y * frame().height + step.y * pixels });
  if (!shift) stroke = null;
  // What was undone, or begun with another brush, does not go on.
  else if (stroke !== operations().at(-1) || stroke?.size !== diameter()) stroke = null;
  if (shift) paint(false, from);
}

/** @type {import("./tools.js").Tool} */
export const brush = {
  hover,
  arrow,
  show,
  place: () => at,
  down(point) {
    stroke = null;
    hover(point);
    paint(true);
  },
  move(point) {
    hover(point);
    paint(true);
  },
  up() {
    rest();
    stroke = null;
  },
  act() {
    stroke = null;
    paint(false);
  },
};

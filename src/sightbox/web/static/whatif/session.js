/** The picture in the view: what was done to it, how it looks now, and what the box says of that. */

import { ApiError } from "../js/api.js";
import { waitForToken } from "../js/unlock.js";
import { createAsking } from "./asking.js";
import { isPlain, LOSSLESS, recipeOf, undo } from "./edits.js";
import { frameOf } from "./frame.js";
import { createLatest } from "./latest.js";
import { createPainter, encode } from "./painter.js";
import * as view from "./view.js";

/** @typedef {import("./edits.js").Operation} Operation */
/** @typedef {import("./edits.js").Recipe} Recipe */

/**
 * @typedef {object} Session
 * @property {import("../js/card.js").Item} item
 * @property {HTMLCanvasElement} picture As it was decoded.
 * @property {ReturnType<typeof createPainter>} paint
 * @property {ReturnType<typeof createAsking>} ask
 * @property {readonly Operation[]} operations
 * @property {Recipe} recipe What they come to.
 */

/** Null while the dialog is closed. @type {Session | null} */
let session = null;
/** The changed picture that the box was asked about last; null for the file itself. @type {Blob | null} */
let asked = null;
/** Whether no slider and no pointer is held: an answer for an earlier state is then not waited for. */
let resting = true;
/** What to do after each change. */
let changed = () => {};

/** Stands in while the dialog is closed, and nobody sees it. */
const NOWHERE = { centre: { x: 0, y: 0 }, width: 1, height: 1, angle: 0 };

/** @returns {import("./frame.js").Frame} What is shown of the picture. */
export const frame = () => (session ? frameOf(session.recipe, session.picture) : NOWHERE);

/** @returns {readonly Operation[]} What was done to the picture. */
export const operations = () => session?.operations ?? [];

/** @param {() => void} listener Called after each change of the picture. */
export function onChanges(listener) {
  changed = listener;
}

/** @param {Session["paint"]} paint @param {Recipe} recipe @returns {Promise<Blob>} */
async function render(paint, recipe) {
  const canvas = document.createElement("canvas");
  paint(recipe, canvas);
  return encode(canvas, recipe.quality);
}

/** What a JPEG loses is to be seen. @param {Blob} jpeg @param {Recipe} recipe What it was made by. */
async function showJpeg(jpeg, recipe) {
  const bitmap = await createImageBitmap(jpeg);
  if (recipe === session?.recipe) view.canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  bitmap.close();
}

/** @param {unknown} thrown */
function fail(thrown) {
  view.showBusy(false);
  const error = thrown instanceof ApiError ? thrown : new ApiError("unknown", String(thrown));
  if (error.code === "token_needed") {
    // The form for it is on the page.
    view.dialog.close();
    waitForToken();
  } else {
    view.showFailure(error, asked);
  }
}

/** @typedef {{of: Session, recipe: Recipe}} Wish */
/** @typedef {{of: Session, blob: Blob | null}} Drawn Without a blob it is as it was. */

const asking = createLatest(
  async (/** @type {Drawn} */ { of, blob }, signal) => {
    asked = blob;
    return of.ask(blob, signal);
  },
  (answer, { of, blob }) => {
    view.showAnswer(answer, of.item.asked.topK);
    view.showSent(of.item.file, blob);
    view.showBusy(!asking.idle() || !drawing.idle());
  },
  fail,
);

const drawing = createLatest(
  async (/** @type {Wish} */ { of, recipe }) => {
    if (isPlain(recipe)) return { of, blob: null };
    const blob = await render(of.paint, recipe);
    if (recipe.quality !== LOSSLESS) await showJpeg(blob, recipe);
    return { of, blob };
  },
  (drawn) => asking.want(drawn, resting),
  fail,
);

/**
 * @param {readonly Operation[]} next What was done to the picture, all of it.
 * @param {boolean} [held] Whether more is to come, until `rest` is called.
 */
export function change(next, held = false) {
  if (!session) return;
  resting = !held;
  session.operations = next;
  session.recipe = recipeOf(next);
  session.paint(session.recipe, view.canvas);
  view.showRecipe(session.recipe, next.length === 0);
  view.showBusy(true);
  changed();
  drawing.want({ of: session, recipe: session.recipe });
}

/** A slider or a pointer was let go of: only the latest state counts. */
export function rest() {
  resting = true;
  asking.hurry();
}

/** Take the last operation back. */
export function takeBack() {
  if (operations().length) change(undo(operations()));
}

/** Have the picture as it was. */
export function reset() {
  if (operations().length) change([]);
}

/** Ask once more. */
export function retry() {
  change(operations());
}

/** @param {import("../js/card.js").Item} item @param {HTMLCanvasElement} picture */
export function begin(item, picture) {
  const paint = createPainter(picture);
  const redraw = () => render(paint, recipeOf([]));
  const ask = createAsking({ file: item.file, asked: item.asked, redraw, onPause: view.showPause });
  session = { item, picture, paint, ask, operations: [], recipe: recipeOf([]) };
  change([]);
}

/** Nothing of the picture is kept, and nobody waits for what was asked. */
export function end() {
  session = asked = null;
  drawing.stop();
  asking.stop();
  view.forget();
}

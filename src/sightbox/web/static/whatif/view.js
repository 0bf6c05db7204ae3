/** The dialog's elements, and what is written into them. */

import { megabytes } from "../js/api.js";
import { byId, find } from "../js/elements.js";
import { decimal, errorKey, percent, t } from "../js/i18n.js";
import { compare } from "./compare.js";
import { LOSSLESS } from "./edits.js";
import { points, showRows, summaryOf } from "./table.js";

/** @typedef {import("./edits.js").Recipe} Recipe */
/** @typedef {import("../js/api.js").ApiError} ApiError */

export const dialog = /** @type {HTMLDialogElement} */ (byId("whatif"));
export const canvas = /** @type {HTMLCanvasElement} */ (find(dialog, "canvas"));
export const brushMark = find(dialog, ".whatif-brush");
export const cropMark = find(dialog, ".whatif-crop");
export const brushSize = /** @type {HTMLInputElement} */ (find(byId("whatif-brush-size"), "input"));
export const cropSize = /** @type {HTMLInputElement} */ (find(byId("whatif-crop-size"), "input"));
/** Those of rotation, brightness and quality; their names are kinds of adjustments. */
export const sliders = /** @type {HTMLInputElement[]} */ ([...dialog.querySelectorAll("input[name][type=range]")]);

const rows = find(dialog, "tbody");
const summary = find(dialog, ".whatif-summary");
const problem = find(dialog, ".whatif-problem");

/** What a person reads beside each slider. @type {Record<string, (value: number) => string>} */
const VALUES = {
  degrees: (value) => t("whatif.degrees_value", { degrees: value }),
  brightness: (value) => percent(value / 100, 0),
  quality: (value) => (value === LOSSLESS ? t("whatif.lossless") : String(value)),
};

/** Less than half of what the table shows is no change, 0 to 1. */
const UNSEEN = 0.0005;

/** @returns {string} The tool in use. */
export const tool = () => /** @type {HTMLInputElement} */ (find(dialog, "[name=whatif-tool]:checked")).value;

/** @param {HTMLInputElement} slider @returns {number} Of one in percent: 0 to 1. */
export const shareOf = (slider) => Number(slider.value) / 100;

/** @param {HTMLInputElement} slider @param {string} text */
function showValue(slider, text) {
  if (slider.parentElement) find(slider.parentElement, ".value").textContent = text;
  slider.setAttribute("aria-valuetext", text);
}

/** Write what belongs to the tool in use. */
export function showTool() {
  const crops = tool() === "crop";
  byId("whatif-brush-size").hidden = brushMark.hidden = crops;
  byId("whatif-crop-size").hidden = cropMark.hidden = !crops;
  byId("whatif-help").textContent = t(crops ? "whatif.crop_help" : "whatif.brush_help");
  for (const slider of [brushSize, cropSize]) showValue(slider, percent(shareOf(slider), 0));
}

/** @param {Recipe} recipe @param {boolean} untouched Whether there is nothing to undo. */
export function showRecipe(recipe, untouched) {
  const values = { degrees: recipe.degrees, brightness: 100 * recipe.brightness, quality: recipe.quality };
  for (const slider of sliders) {
    const value = Math.round(values[/** @type {keyof typeof values} */ (slider.name)]);
    slider.value = String(value);
    showValue(slider, VALUES[slider.name]?.(value) ?? "");
  }
  // One that is disabled would lose the focus.
  for (const id of ["whatif-undo", "whatif-reset"]) byId(id).setAttribute("aria-disabled", String(untouched));
  find(dialog, ".whatif-picture").style.setProperty("--ratio", String(canvas.width / canvas.height));
}

/** @param {boolean} busy Whether an answer is on its way. */
export function showBusy(busy) {
  find(dialog, "table").setAttribute("aria-busy", String(busy));
}

/** @param {import("./asking.js").Answer} answer @param {number} count How many classes are the first. */
export function showAnswer({ before, now, drift }, count) {
  showProblem("");
  showRows(rows, compare(before.predictions, now.predictions, count));
  summary.textContent = summaryOf(before, now);
  byId("whatif-drift").textContent = drift < UNSEEN ? "" : t("whatif.drift", { points: points(drift).slice(1) });
}

/** @param {string} title Empty: there is none. @param {string} [hint] @param {boolean} [final] Nobody asks again. */
function showProblem(title, hint = "", final = false) {
  find(problem, ".whatif-problem-title").textContent = title;
  find(problem, ".whatif-problem-hint").textContent = hint;
  byId("whatif-retry").hidden = !final;
  if (title) summary.textContent = rows.children.length ? t("whatif.stale") : "";
}

/** @param {ApiError} error @param {Blob | null} changed The picture that was sent, if it is not the file. */
export function showFailure(error, changed) {
  const key = errorKey(error.code);
  const hint = changed && error.code === "body_too_large" ? "whatif.too_large" : `${key}.hint`;
  showProblem(t(key), t(hint, { size: decimal(changed ? megabytes(changed) : 0) }), true);
}

/** @param {ApiError | null} error Why the box is asked again by itself; null when it has answered. */
export function showPause(error) {
  if (error) showProblem(t(errorKey(error.code)), t("card.busy", { seconds: error.retryAfter }));
  else showProblem("");
}

/** @param {File} file The original. @param {Blob | null} changed What was sent instead. */
export function showSent(file, changed) {
  const kb = decimal((changed ?? file).size / 1000);
  const format = changed?.type.replace("image/", "").toUpperCase() ?? "";
  const { width, height } = canvas;
  byId("whatif-sent").textContent = changed
    ? t("whatif.sent", { format, width, height, kb })
    : t("whatif.sent_original", { kb });
}

/** @param {import("./edits.js").Point} place Of the tool's mark, each 0 to 1. */
export function showPlace({ x, y }) {
  byId("whatif-place").textContent = t("whatif.place", { across: percent(x, 0), down: percent(y, 0) });
}

/** @param {string} name Of the file that the dialog is opened for. */
export function showFresh(name) {
  find(dialog, ".whatif-name").textContent = name;
  for (const id of ["whatif-drift", "whatif-sent", "whatif-place"]) byId(id).textContent = "";
  rows.replaceChildren();
  summary.textContent = "";
  showProblem("");
  showTool();
}

/** Let go of what is left of the picture. */
export function forget() {
  canvas.width = canvas.height = 0;
  rows.replaceChildren();
}

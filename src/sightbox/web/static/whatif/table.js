/** Shows what a change did to the scores: a sentence, and a table with bars. */

import { find, instantiate } from "../js/elements.js";
import { labelOf, language, languageTag, otherLanguage, percent, t } from "../js/i18n.js";
import { compare } from "./compare.js";

/** @typedef {import("./compare.js").Row} Row */
/** @typedef {import("../js/api.js").Result} Result */

/** @param {number} change Of a share, -1 to 1. @returns {number} In percentage points, as it is shown. */
const pointsOf = (change) => Math.round(1000 * change) / 10;

/** @param {number} change Of a share, -1 to 1. @returns {string} In percentage points, with its sign. */
export function points(change) {
  const shown = pointsOf(change).toLocaleString(language(), {
    minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "exceptZero",
  });
  // A hyphen is shorter than a plus, and easily missed.
  return shown.replace("-", "\u2212");
}

/** @param {number} change @returns {"up" | "down" | "same"} */
function directionOf(change) {
  const shown = pointsOf(change);
  if (shown === 0) return "same";
  return shown > 0 ? "up" : "down";
}

const ARROWS = { up: "▲", down: "▼", same: "" };

/** @param {HTMLElement} line @param {Row} row */
function showRow(line, { prediction, before, now, fresh }) {
  const direction = directionOf(now - before);
  line.dataset.class = String(prediction.index);
  line.dataset.direction = direction;
  find(line, ".label").textContent = labelOf(prediction);
  const other = find(line, ".other");
  other.textContent = prediction.label[otherLanguage()] ?? "";
  other.lang = languageTag(otherLanguage());
  find(line, ".fresh").hidden = !fresh;
  find(line, ".before").textContent = percent(before);
  find(line, ".now").textContent = percent(now);
  find(line, ".arrow").textContent = ARROWS[direction];
  find(line, ".points").textContent = points(now - before);
  line.style.setProperty("--before", String(before));
  line.style.setProperty("--now", String(now));
}

/**
 * @param {HTMLElement} body The table's.
 * @param {Row[]} rows
 */
export function showRows(body, rows) {
  // Rows stay where they are, so that their bars move instead of jumping.
  while (body.children.length > rows.length) body.lastElementChild?.remove();
  while (body.children.length < rows.length) body.append(instantiate("whatif-row-template"));
  rows.forEach((row, place) => showRow(/** @type {HTMLElement} */ (body.children[place]), row));
}

/**
 * @param {Result} before
 * @param {Result} now
 * @returns {string} What became of the first answer.
 */
export function summaryOf(before, now) {
  const [first, winner] = [before.predictions[0], now.predictions[0]];
  if (!first || !winner) return "";
  if (before === now) return t("whatif.original", { label: labelOf(first), percent: percent(first.score) });
  const [row] = compare(before.predictions, now.predictions, 1);
  const change = { label: labelOf(first), before: percent(first.score), now: percent(row?.now ?? 0) };
  if (winner.index !== first.index) {
    return t("whatif.overtaken", { ...change, winner: labelOf(winner), percent: percent(winner.score) });
  }
  return t("whatif.still", { ...change, points: points(winner.score - first.score) });
}

/** Writes a comparison as JSON and CSV, in the order on the page. */

import { cell } from "../js/report.js";
import { settings } from "../js/settings.js";
import { summarise } from "./summary.js";
import { SIDES, wayOf } from "./ways.js";

/** @typedef {import("./pairs.js").Pair} Pair */
/** @typedef {import("./pairs.js").Answer} Answer */

const SIDE_COLUMNS = ["class", "wnid", "en", "zh", "score", "model", "variant", "backend", "error"];
const COLUMNS = ["file", "same", "change", ...SIDES.flatMap((side) => SIDE_COLUMNS.map((name) => `${side}_${name}`))];

/** @param {Answer} answer @returns {unknown[]} What `SIDE_COLUMNS` names. */
function cellsOf({ result, error }) {
  if (!result) return [...Array(SIDE_COLUMNS.length - 1).fill(""), error?.code];
  const { predictions: [{ index, wnid, label, score }], model } = result;
  return [index, wnid, label.en, label.zh, score, model.name, model.variant, model.backend, ""];
}

/** @param {readonly Pair[]} pairs @returns {Pair[]} Those that both sides have answered or failed at. */
const ended = (pairs) => pairs.filter((pair) => SIDES.every((side) => pair[side].result || pair[side].error));

/** @param {readonly Pair[]} pairs @returns {string} A table with a line for each picture. */
export function toCsv(pairs) {
  const rows = ended(pairs).map(({ name, difference, left, right }) => [
    name, difference?.same, difference?.change, ...cellsOf(left), ...cellsOf(right),
  ]);
  return [COLUMNS, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** @param {Answer} answer @returns {object} As the box answers, with the classes that are shown. */
function plain({ result, error }) {
  if (result) return { ...result, predictions: result.predictions.slice(0, settings().topK) };
  return { error: { code: error?.code, detail: error?.detail } };
}

/** @param {readonly Pair[]} pairs @returns {string} The two ways, the summary and all answers. */
export function toJson(pairs) {
  const found = ended(pairs);
  const { compared, failed, same, agreement, mean, largest, ms } = summarise(found);
  const results = found.map(({ name, difference, left, right }) => ({
    file: name, same: difference?.same ?? null, change: difference?.change ?? null,
    left: plain(left), right: plain(right),
  }));
  const ways = { left: wayOf("left"), right: wayOf("right") };
  const summary = { compared, failed, same, agreement, mean_change: mean, largest_change: largest, mean_ms: ms };
  return `${JSON.stringify({ ways, summary, results }, null, 2)}\n`;
}

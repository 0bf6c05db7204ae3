/** Writes results as JSON, CSV and Markdown. */

import { labelOf, language, otherLanguage, percent } from "./i18n.js";

/** @typedef {import("./api.js").Result} Result */
/** @typedef {{name: string, result?: Result, error?: {code: string, detail: string}}} Outcome */

const COLUMNS = "file,rank,class,wnid,en,zh,score,model,variant,backend,error,sure";

/** RFC 4180, section 2: a value with a comma, a quote or a line break is quoted.
 * A value that a spreadsheet would take for a formula begins with an apostrophe.
 * @param {unknown} value */
export function cell(value) {
  let text = String(value ?? "");
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {Outcome} outcome @returns {unknown[][]} One row for each class, or one for the error. */
function rows({ name, result, error }) {
  if (!result) return [[name, ...Array(9).fill(""), error?.code, ""]];
  const { model, predictions, sure } = result;
  return predictions.map(({ index, wnid, label, score }, place) => [
    name, place + 1, index, wnid, label.en, label.zh, score,
    model.name, model.variant, model.backend, "", sure,
  ]);
}

/** @param {Outcome} outcome */
const plain = ({ name, result, error }) => (result ? { file: name, ...result } : { file: name, error });

/** @param {Outcome[]} outcomes @returns {string} A table with a line for each class. */
export const toCsv = (outcomes) =>
  [COLUMNS, ...outcomes.flatMap(rows).map((row) => row.map(cell).join(","))].join("\r\n") + "\r\n";

/** @param {Outcome[]} outcomes @returns {string} `{"results": [...]}`, as the box answers a form. */
export const toJson = (outcomes) =>
  `${JSON.stringify({ results: outcomes.map(plain) }, null, 2)}\n`;

/** @param {Outcome} outcome @returns {string} One object, as the box answers a picture. */
export const toOneJson = (outcome) => `${JSON.stringify(plain(outcome), null, 2)}\n`;

/** @param {string} text */
const escaped = (text) => text.replace(/[\\`*_[\]<>|]/g, "\\$&");

/** @param {Outcome} outcome @returns {string} A heading and a table, in the reader's language. */
export function toMarkdown({ name, result }) {
  const lines = [`### ${escaped(name)}`, "", `| ${language()} | ${otherLanguage()} | % |`, "|---|---|--:|"];
  for (const one of result?.predictions ?? []) {
    const names = [labelOf(one), labelOf(one, otherLanguage())].map(escaped);
    lines.push(`| ${names.join(" | ")} | ${percent(one.score)} |`);
  }
  const model = result?.model;
  return [...lines, "", `${model?.name} · ${model?.variant} · ${model?.backend}`, ""].join("\n");
}

/** Writes the same question as the page asks, for a shell and for programs. */

import { parametersOf } from "./settings.js";

/** @typedef {{name: string, settings: import("./settings.js").Settings, origin: string, token: boolean}} Question */

/** POSIX shells: nothing is special between single quotes. @param {string} text */
const quoted = (text) => (/^[\w./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** JSON's strings are strings of Python and JavaScript as well. @param {string} text */
const literal = (text) => JSON.stringify(text);

/** A name that begins with a dash would be an option. @param {string} name */
const asPath = (name) => (name.startsWith("-") ? `./${name}` : name);

/** @param {Question} question */
const addressOf = ({ settings, origin }) => `${origin}/v1/classify?${parametersOf(settings)}`;

/** @param {Question} question @returns {string} */
export function forShell({ name, settings }) {
  const words = ["sightbox", "classify", quoted(asPath(name))];
  for (const [key, value] of parametersOf(settings)) {
    if (key === "explain") words.push("--explain", "reasons.png");
    else words.push(`--${key.replaceAll("_", "-")}`, quoted(value));
  }
  return words.join(" ");
}

/** @param {Question} question @returns {string} */
export function forCurl(question) {
  const key = question.token ? ["--header", '"Authorization: Bearer $SIGHTBOX_TOKEN"'] : [];
  return ["curl", ...key, "--data-binary", quoted(`@${question.name}`), quoted(addressOf(question))].join(" ");
}

/** @param {Question} question @returns {string} */
export function forPython({ name, settings }) {
  const { topK, minScore, model, variant, preprocessing, explain } = settings;
  const made = [model && `model=${literal(model)}`, variant && `variant=${literal(variant)}`].filter(Boolean);
  const asked = [`top_k=${topK}`, `min_score=${minScore}`, `preprocessing=${literal(preprocessing)}`];
  if (explain) asked.push("explain=True");
  return [
    "from sightbox import Classifier",
    "",
    `with Classifier(${made.join(", ")}) as classifier:`,
    `    answer = classifier.classify(${[literal(name), ...asked].join(", ")})`,
    "",
    "for guess in answer.predictions:",
    '    print(f"{guess.score:.1%}", guess.label)',
    "",
  ].join("\n");
}

/** @param {Question} question @returns {string} */
export function forJavaScript(question) {
  const key = question.token ? ["  headers: { Authorization: `Bearer ${process.env.SIGHTBOX_TOKEN}` },"] : [];
  return [
    'import { readFile } from "node:fs/promises";',
    "",
    `const response = await fetch(${literal(addressOf(question))}, {`,
    '  method: "POST",',
    ...key,
    `  body: await readFile(${literal(question.name)}),`,
    "});",
    "if (!response.ok) throw new Error(await response.text());",
    "",
    "for (const { score, label } of (await response.json()).predictions) {",
    "  console.log(score, label);",
    "}",
    "",
  ].join("\n");
}

/** Writes the steps of a walk, in the present language; knows nothing but the walk. */

import { find, instantiate } from "../js/elements.js";
import { decimal, language, languageTag, percent, t } from "../js/i18n.js";
import { barChart } from "./charts.js";

/** @typedef {import("./ask.js").Step} Step */
/** @typedef {import("./ask.js").Walk} Walk */

const CHANNELS = ["lesson.red", "lesson.green", "lesson.blue"];

/** @param {number} value @param {number} [digits] Digits after the point. */
function number(value, digits = 0) {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString(language(), options).replace("-", "−");
}

/** @param {string} name @param {string} className @param {Element[]} children */
function group(name, className, children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

/** @param {string} address @param {string} caption @param {string} [alt] */
function picture(address, caption, alt = caption) {
  const figure = instantiate("picture-template");
  const image = /** @type {HTMLImageElement} */ (find(figure, "img"));
  image.src = address;
  image.alt = alt;
  find(figure, "figcaption").textContent = caption;
  return figure;
}

/** @param {Record<string, string>} label @returns {string} In the present language, if it has one. */
const nameOf = (label) => label[language()] ?? Object.values(label)[0] ?? "";

/** @param {Walk} walk @param {Step} step @returns {number} Its number among the stages, from 1. */
const stageNumber = (walk, step) => walk.steps.filter(({ kind }) => kind === "stage").indexOf(step) + 1;

/** @param {Walk} walk @param {Step} step @returns {string} The key of what is told of a step. */
function textKey(walk, step) {
  if (step.kind === "turn") return `step.turn.${step.facts.orientation === 1 ? "text" : "turned"}`;
  if (step.kind === "softmax") return `step.softmax.${step.facts.temperature === 1 ? "text" : "scaled"}`;
  if (step.kind === "crop") return `step.crop.${step.facts.whole ? "whole" : "text"}`;
  if (step.kind !== "stage") return `step.${step.kind}.text`;
  const count = walk.steps.filter(({ kind }) => kind === "stage").length;
  const place = stageNumber(walk, step);
  if (place === 1) return "step.stage.first";
  if (place === count) return "step.stage.last";
  return step.facts.source[2] > (step.shape[3] ?? 0) ? "step.stage.smaller" : "step.stage.same";
}

/** @param {Walk} walk @param {Step} step @returns {Record<string, string>} What its text tells. */
function valuesOf(walk, step) {
  const { shape, facts } = step;
  const best = walk.best[0];
  const [height = 0, width = 0] = shape.length === 4 ? shape.slice(2) : shape;
  /** @type {Record<string, string>} */
  const values = {
    count: number(shape.at(-1) ?? 0),
    channels: number(shape[1] ?? 0),
    height: number(facts.height ?? height),
    width: number(facts.width ?? width),
    side: number(height),
    before: number(facts.source?.[0] ?? 0),
    shown: number(step.planes.length),
    number: number(stageNumber(walk, step)),
    format: String(facts.format),
    orientation: String(facts.orientation),
    interpolation: String(facts.interpolation),
    temperature: number(facts.temperature ?? 1, 2),
    label: nameOf(best.label),
    percent: percent(best.score),
    value: number(best.logit, 2),
  };
  if (step.kind !== "normalize") return values;
  const example = { mean: number(facts.mean[0], 3), std: number(facts.std[0], 3), value: number(facts.value, 2) };
  return { ...values, ...example, byte: number(facts.byte) };
}

/** @param {Step} step */
function showPhotos(step) {
  const keys = {
    decode: ["decoded"], turn: ["stored", "turned"], resize: ["resized"],
    crop: step.facts.whole ? ["crop"] : ["cut", "crop"],
  }[step.kind] ?? [];
  const figures = step.photos.map((address, place) => picture(address, t(`lesson.photo.${keys[place]}`)));
  return group("div", "photos", figures);
}

/** @param {Step} step */
function showPlanes(step) {
  const figures = step.planes.map(({ channel, low, high, png }) => {
    if (step.kind === "normalize") return picture(png, t(CHANNELS[channel] ?? ""));
    const values = { number: number(channel), low: number(low, 2), high: number(high, 2) };
    return picture(png, t("lesson.channel", values), t("lesson.channel.alt", values));
  });
  return group("div", step.kind === "normalize" ? "photos" : "planes", figures);
}

/** @param {Step} step @returns {HTMLElement} */
function showBytes({ facts }) {
  const cells = facts.start.split(" ").map((/** @type {string} */ text) => {
    const cell = document.createElement("span");
    cell.textContent = String(parseInt(text, 16));
    return cell;
  });
  return group("p", "bytes", cells);
}

/** @param {import("./ask.js").Addition} addition @returns {HTMLElement} */
function showAddition({ name, ratio, planes }) {
  const row = instantiate("addition-template");
  row.querySelectorAll("img").forEach((image, place) => {
    image.src = planes[place]?.png ?? "";
  });
  const label = t("lesson.residual.map", { number: number(planes[0].channel), name });
  find(row, ".sum").setAttribute("aria-label", `${label}: x + F(x)`);
  find(row, ".change-text").textContent = t("lesson.residual.share", { name, percent: percent(ratio) });
  find(row, ".change-bar").style.setProperty("--share", String(Math.min(ratio, 1)));
  return row;
}

/** @param {Walk} walk @param {Step} step The softmax. @returns {HTMLElement} */
function showBest(walk, { facts }) {
  const table = instantiate("best-template");
  if (facts.temperature !== 1) find(table, '[data-i18n="lesson.power"]').textContent = t("lesson.power.scaled");
  const rows = walk.best.map(({ label, score, logit }) => {
    const row = instantiate("class-template");
    find(row, "th").textContent = nameOf(label);
    find(row, ".logit").textContent = number(logit, 2);
    find(row, ".power").textContent = number(Math.exp((logit - walk.best[0].logit) / facts.temperature), 4);
    find(row, ".share").textContent = percent(score);
    find(row, ".share-bar").style.setProperty("--share", String(score));
    return row;
  });
  find(table, "tbody").append(...rows);
  return table;
}

/** @param {Walk} walk @param {Step} step @param {number[]} values */
function showValues(walk, step, values) {
  const low = number(Math.min(...values), 1);
  const high = number(Math.max(...values), 1);
  const label = t(`lesson.${step.kind}.chart`, { count: number(values.length), low, high });
  const marked = step.kind === "logits" ? walk.best.map(({ index }) => index) : [];
  const caption = document.createElement("figcaption");
  caption.textContent = label;
  return group("figure", "chart", [barChart(values, marked, label), caption]);
}

/** @param {Walk} walk @param {Step} step @returns {Element[]} What there is to see. */
function shownOf(walk, step) {
  const shown = [];
  if (step.kind === "bytes") shown.push(showBytes(step));
  if (step.photos.length) shown.push(showPhotos(step));
  if (step.planes.length) shown.push(showPlanes(step));
  if (step.values) shown.push(showValues(walk, step, step.values));
  if (step.kind === "softmax") shown.push(showBest(walk, step));
  if (step.additions.length) {
    const section = instantiate("residual-template");
    // What such a block is, is told once.
    find(section, "p").hidden = step !== walk.steps.find(({ additions }) => additions.length);
    section.append(...step.additions.map(showAddition));
    shown.push(section);
  }
  return shown;
}

/** @param {Step} step @returns {string} */
function timeOf(step) {
  if (step.kind === "turn") return t("lesson.with_decoding");
  return step.ms === null ? t("lesson.none") : t("lesson.ms", { ms: number(step.ms, step.ms < 10 ? 2 : 1) });
}

/** @param {Walk} walk @param {Step} step @returns {string} */
export const nameOfStep = (walk, step) =>
  t(`step.${step.kind}.name`, { number: stageNumber(walk, step) });

/** @param {Walk} walk @param {Step} step @param {number} place From 0. @returns {HTMLElement} */
export function createStep(walk, step, place) {
  const root = instantiate("step-template");
  const count = step.shape.reduce((product, side) => product * side, 1);
  root.id = `step-${place + 1}`;
  root.dataset.kind = step.kind;
  root.style.setProperty("--place", String(place));
  find(root, ".step-number").textContent = String(place + 1);
  find(root, ".step-name").textContent = nameOfStep(walk, step);
  find(root, ".step-text").textContent = t(textKey(walk, step), valuesOf(walk, step));
  find(root, ".shown").append(...shownOf(walk, step));
  find(root, ".shape").textContent = `[${step.shape.join(", ")}]`;
  find(root, ".type").textContent = t("lesson.count", { count: number(count), type: step.dtype });
  find(root, ".time").textContent = timeOf(step);
  find(root, ".in-graph").hidden = step.tensor === null;
  find(root, ".tensor").textContent = step.tensor ?? "";
  return root;
}

/** @param {number[]} shape NCHW, HWC, or a list. @returns {[number, number]} Maps, and rows of each. */
function depthAndHeight(shape) {
  if (shape.length === 4) return [shape[1] ?? 0, shape[2] ?? 0];
  if (shape.length === 3) return [shape[2] ?? 0, shape[0] ?? 0];
  return [shape.at(-1) ?? 0, 1];
}

/** @param {Walk} walk @param {Step} step @param {number} place From 0. @returns {HTMLElement} */
export function createSignpost(walk, step, place) {
  const root = instantiate("way-template");
  const link = /** @type {HTMLAnchorElement} */ (find(root, "a"));
  const [deep, high] = depthAndHeight(step.shape);
  link.href = `#step-${place + 1}`;
  find(root, ".way-name").textContent = nameOfStep(walk, step);
  find(root, ".way-time").textContent = step.ms === null ? "" : decimal(step.ms);
  // How many maps, and how large: both span thousands, so that only their logarithms fit.
  find(root, ".block span").style.setProperty("--wide", String(Math.log2(deep + 1) / 11));
  find(root, ".block span").style.setProperty("--high", String(Math.log2(high + 1) / 10));
  return root;
}

/** @param {Walk} walk @returns {{label: string, percent: string, tag: string}} The answer in words. */
export function answerOf(walk) {
  const [{ label, score }] = walk.best;
  return { label: nameOf(label), percent: percent(score), tag: languageTag(language()) };
}

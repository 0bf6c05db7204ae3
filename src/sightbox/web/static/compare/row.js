/** One picture's row: the answers of both sides, and how they differ. Shows a pair and knows nothing else. */

import { find, instantiate } from "../js/elements.js";
import { decimal, labelOf, t } from "../js/i18n.js";
import { showPredictions } from "../js/predictions.js";
import { showPreview } from "../js/preview.js";
import { showProblem } from "../js/problem.js";
import { settings } from "../js/settings.js";
import { describeState } from "../js/status.js";
import { isPending } from "./summary.js";
import { SIDES, wayOf } from "./ways.js";

/** @typedef {import("./pairs.js").Pair} Pair */
/** @typedef {import("./ways.js").Side} Side */

/**
 * @typedef {object} Row
 * @property {HTMLElement} root
 * @property {() => void} show Writes the pair's present state, in the present language.
 * @property {() => void} remove Takes the row off the page and frees the preview.
 */

/** What is said of a preparation that is not the exact one. @type {Record<string, string>} */
const PREPARED = { fast: "compare.fast", nearest: "compare.nearest" };

/** A change below it, in points, reads as none. */
const LEAST_POINTS = 0.05;

/** @param {Pair} pair @returns {string} How the two answers differ, or why they cannot. */
function describe(pair) {
  const { difference, left, right } = pair;
  if (difference && left.result && right.result) {
    const points = 100 * Math.abs(difference.rise);
    const names = { left: labelOf(left.result.predictions[0]), right: labelOf(right.result.predictions[0]) };
    if (!difference.same) return t("compare.different", names);
    if (points < LEAST_POINTS) return t("compare.same");
    return t(difference.rise > 0 ? "compare.higher" : "compare.lower", { points: decimal(points) });
  }
  const open = SIDES.find((side) => !["done", "failed"].includes(pair[side].state));
  if (open) return describeState(pair[open].state, pair[open].pause);
  return t(left.result || right.result ? "compare.half" : "compare.none");
}

/** @param {Pair} pair @returns {"pending" | "stopped" | "different" | "same" | "failed"} */
function stateOf(pair) {
  if (pair.difference) return pair.difference.same ? "same" : "different";
  if (isPending(pair)) return "pending";
  return SIDES.some((side) => pair[side].state === "stopped") ? "stopped" : "failed";
}

/** @param {Pair} pair @returns {boolean} Whether both sides failed for one reason, which is told once. */
const failedAlike = ({ left, right }) => Boolean(left.error) && left.error?.code === right.error?.code;

/** @param {Pair} pair @param {Side} side @param {HTMLElement} root The side's part of the row. */
function showSide(pair, side, root) {
  const { result, error } = pair[side];
  const { name, variant } = result?.model ?? { name: "", variant: "" };
  const way = PREPARED[wayOf(side).preprocessing];
  find(root, ".side-name").textContent = [t(`compare.${side}`), name, variant, way && t(way)].filter(Boolean).join(" · ");
  showPredictions(find(root, ".predictions"), (result?.predictions ?? []).slice(0, settings().topK));
  find(root, ".problem").hidden = !error;
  if (error) showProblem(root, error, pair.file);
}

/**
 * @param {Pair} pair
 * @param {() => void} retry
 * @returns {Row}
 */
export function createRow(pair, retry) {
  const root = instantiate("pair-template");
  const sides = { left: instantiate("side-template"), right: instantiate("side-template") };
  const free = showPreview(root, pair.file);

  root.setAttribute("aria-label", pair.name);
  find(root, ".name").textContent = find(root, ".name").title = pair.name;
  find(root, ".again").addEventListener("click", retry);
  for (const side of SIDES) {
    find(root, ".sides").append(sides[side]);
    find(sides[side], ".retry").addEventListener("click", retry);
  }

  function show() {
    root.dataset.state = stateOf(pair);
    root.setAttribute("aria-busy", String(isPending(pair)));
    find(root, "img").setAttribute("alt", t("card.preview", { name: pair.name }));
    find(root, ".difference span").textContent = describe(pair);
    find(root, ".again").hidden = root.dataset.state !== "stopped";
    for (const side of SIDES) showSide(pair, side, sides[side]);
    root.classList.toggle("alike", failedAlike(pair));
    sides.right.hidden = failedAlike(pair);
  }

  function remove() {
    free();
    root.remove();
  }

  return { root, show, remove };
}

/** One picture's card: preview, answer or problem. Shows an item and knows nothing else. */

import { megabytes } from "./api.js";
import { decimal, errorKey, language, languageTag, otherLanguage, percent, t, translate } from "./i18n.js";

/** @typedef {import("./api.js").Result} Result */
/** @typedef {import("./api.js").Prediction} Prediction */

/**
 * @typedef {object} Item
 * @property {File} file
 * @property {"waiting" | "working" | "locked" | "done" | "failed"} state
 * @property {Result} [result] When done.
 * @property {import("./api.js").ApiError} [error] When failed.
 */

/**
 * @typedef {object} Card
 * @property {HTMLElement} root
 * @property {() => void} show Writes the item's present state, in the present language.
 * @property {() => void} remove Takes the card off the page and frees the preview.
 */

const ROWS = 5;
const STAGES = /** @type {const} */ (["decode", "preprocess", "queue", "infer"]);
/** What a card without an answer says. @type {Partial<Record<Item["state"], string>>} */
const STATUS = { waiting: "card.waiting", working: "card.working", locked: "card.locked" };
const RETRYABLE = ["queue_full", "deadline_exceeded", "closed", "backend_failed", "network", "unknown"];

/** @param {string} id @returns {HTMLElement} A fresh copy of a template's only element. */
function instantiate(id) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(id));
  const copy = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
  translate(copy);
  return copy;
}

/** @param {Item} item @returns {string} One sentence for the announcer; empty while at work. */
export function summarise(item) {
  const name = item.file.name;
  const best = item.result?.predictions[0];
  if (best) {
    return t("say.done", { name, label: best.label[language()], percent: percent(best.score) });
  }
  return item.error ? t("say.failed", { name, problem: t(errorKey(item.error.code)) }) : "";
}

/** @param {Element} row @param {Prediction} prediction */
function showPrediction(row, prediction) {
  /** @type {[string, import("./i18n.js").Language][]} */
  const labels = [[".label", language()], [".other", otherLanguage()]];
  for (const [selector, code] of labels) {
    const element = /** @type {HTMLElement} */ (row.querySelector(selector));
    element.textContent = prediction.label[code];
    element.lang = languageTag(code);
  }
  /** @type {HTMLElement} */ (row.querySelector(".percent")).textContent = percent(prediction.score);
  /** @type {HTMLElement} */ (row).style.setProperty("--share", String(prediction.score));
}

/** @param {Result} result @returns {string} The milliseconds of each stage that took time. */
function describeStages({ timings_ms: times }) {
  const stages = STAGES.filter((stage) => times[stage] >= 0.05);
  return stages.map((stage) => `${t(`time.${stage}`)} ${decimal(times[stage])}`).join(" · ");
}

/**
 * @param {Item} item
 * @param {{remove: () => void, retry: () => void}} actions
 * @returns {Card}
 */
export function createCard(item, actions) {
  const root = instantiate("card-template");
  const address = URL.createObjectURL(item.file);
  /** @param {string} selector @returns {HTMLElement} */
  const find = (selector) => /** @type {HTMLElement} */ (root.querySelector(selector));
  const image = /** @type {HTMLImageElement} */ (find("img"));
  const rows = Array.from({ length: ROWS }, () => instantiate("prediction-template"));

  find(".predictions").append(...rows);
  find(".name").textContent = find(".name").title = item.file.name;
  find(".remove").addEventListener("click", actions.remove);
  find(".retry").addEventListener("click", actions.retry);
  image.addEventListener("load", () => showSize(image.naturalWidth, image.naturalHeight));
  image.addEventListener("error", () => {
    image.hidden = true;
    find(".no-preview").hidden = false;
  });
  image.src = address;

  /** @param {number} width @param {number} height */
  function showSize(width, height) {
    find(".size").textContent = `${width} × ${height}`;
  }

  /** @param {Result} result */
  function showResult(result) {
    rows.forEach((row, rank) => {
      row.hidden = rank >= result.predictions.length;
      if (!row.hidden) showPrediction(row, result.predictions[rank]);
    });
    const { name, variant, backend } = result.model;
    find(".model").textContent = [name, variant, backend].join(" · ");
    find(".total").textContent = `${decimal(result.timings_ms.total)} ms`;
    find(".stages").textContent = describeStages(result);
    if (image.hidden) showSize(result.image.width, result.image.height);
  }

  function showProblem() {
    const key = errorKey(item.error?.code);
    find(".problem-title span").textContent = t(key);
    find(".problem-hint").textContent = t(`${key}.hint`, { size: decimal(megabytes(item.file)) });
    find(".problem-detail").textContent = item.error?.detail ?? "";
    find(".retry").hidden = !RETRYABLE.includes(key.replace("error.", ""));
  }

  function show() {
    root.dataset.state = item.state;
    root.setAttribute("aria-busy", String(item.state in STATUS));
    root.setAttribute("aria-label", item.file.name);
    image.alt = t("card.preview", { name: item.file.name });
    find(".remove").setAttribute("aria-label", t("card.remove", { name: item.file.name }));
    find(".status").textContent = t(STATUS[item.state] ?? "");
    find(".problem").hidden = item.state !== "failed";
    if (item.result) showResult(item.result);
    if (item.error) showProblem();
  }

  function remove() {
    URL.revokeObjectURL(address);
    root.remove();
  }

  show();
  return { root, show, remove };
}

/** One picture's card: preview, answer or problem. Shows an item and knows nothing else. */

import { find, instantiate } from "./elements.js";
import { errorKey, labelOf, percent, t } from "./i18n.js";
import { offerMore } from "./more.js";
import { setRows, showPredictions } from "./predictions.js";
import { showPreview } from "./preview.js";
import { showProblem } from "./problem.js";
import { describeState } from "./status.js";
import { showTimes } from "./times.js";
import { isSure, verdict } from "./verdict.js";
import { offerWhatIf } from "./what_if.js";
import { createWhy } from "./why.js";

/** @typedef {import("./api.js").Result} Result */
/** @typedef {import("./api.js").Prediction} Prediction */

/**
 * @typedef {object} Item
 * @property {File} file
 * @property {string} name The file's name, below the folder that it came with.
 * @property {import("./status.js").State} state
 * @property {number} sent How much of it has been sent, 0 to 1, while working.
 * @property {number} pause Seconds until the box is asked again, when busy.
 * @property {import("./settings.js").Settings} asked What was chosen when the box was asked.
 * @property {Result} [result] When done; with the classes that were chosen to be shown.
 * @property {Prediction[]} candidates The two best classes, shown or not.
 * @property {import("./api.js").ApiError} [error] When failed.
 */

/**
 * @typedef {object} Card
 * @property {HTMLElement} root
 * @property {() => void} show Writes the item's present state, in the present language.
 * @property {() => void} remove Takes the card off the page and frees the preview.
 */

/** @param {Item} item @returns {string} One sentence for the announcer; empty while at work. */
export function summarise({ name, result, error }) {
  const best = result?.predictions[0];
  if (best) return t("say.done", { name, label: labelOf(best), percent: percent(best.score) });
  if (result) return t("say.failed", { name, problem: t("verdict.none") });
  return error ? t("say.failed", { name, problem: t(errorKey(error.code)) }) : "";
}

/**
 * @param {Item} item
 * @param {{remove: () => void, retry: () => void, explain: () => Promise<Result>}} actions
 * @returns {Card}
 */
export function createCard(item, actions) {
  const root = instantiate("card-template");
  const list = find(root, ".predictions");
  /** @param {number} width @param {number} height */
  const showSize = (width, height) => {
    find(root, ".size").textContent = `${width} × ${height}`;
  };
  const free = showPreview(root, item.file, showSize);
  const why = createWhy(item, root, actions.explain);

  find(root, ".name").textContent = find(root, ".name").title = item.name;
  root.setAttribute("aria-label", item.name);
  find(root, ".remove").addEventListener("click", actions.remove);
  find(root, ".retry").addEventListener("click", actions.retry);
  find(root, ".again").addEventListener("click", actions.retry);
  offerMore(item, root);
  offerWhatIf(item, root);

  /** @param {Result} result */
  function showResult({ predictions, sure, model, timings_ms, image }) {
    showPredictions(list, predictions);
    find(root, ".verdict").textContent = verdict(item.candidates, sure, predictions.length);
    find(root, ".verdict").classList.toggle("unsure", !predictions.length || !isSure(item.candidates, sure));
    find(root, ".why").hidden = !predictions.length;
    find(root, ".model").textContent = [model.name, model.variant, model.backend].join(" · ");
    showTimes(find(root, ".timing"), timings_ms);
    showSize(image.width, image.height);
  }

  function show() {
    const ended = item.state === "done" || item.state === "failed" || item.state === "stopped";
    root.dataset.state = item.state;
    root.setAttribute("aria-busy", String(!ended));
    find(root, "img").setAttribute("alt", t("card.preview", { name: item.name }));
    find(root, ".remove").setAttribute("aria-label", t("card.remove", { name: item.name }));
    find(root, ".status-text").textContent = describeState(item.state, item.pause, item.sent);
    find(root, ".again").hidden = item.state !== "stopped";
    find(root, ".problem").hidden = item.state !== "failed";
    if (item.state === "done" && item.result) showResult(item.result);
    else setRows(list, item.asked.topK);
    if (item.error) showProblem(root, item.error, item.file);
    why.show();
  }

  function remove() {
    free();
    root.remove();
  }

  show();
  return { root, show, remove };
}

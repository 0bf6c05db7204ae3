/** Shows the classes of an answer: names in both languages, score, bar. */

import { find, instantiate } from "./elements.js";
import { labelOf, language, languageTag, otherLanguage, percent } from "./i18n.js";

/** @typedef {import("./api.js").Prediction} Prediction */

/** @param {HTMLElement} row @param {Prediction} prediction */
function showPrediction(row, prediction) {
  const [label, other] = [find(row, ".label"), find(row, ".other")];
  label.textContent = labelOf(prediction);
  label.lang = languageTag(language());
  other.textContent = prediction.label[otherLanguage()] ?? "";
  other.lang = languageTag(otherLanguage());
  find(row, ".wnid").textContent = [prediction.index, prediction.wnid].filter((id) => id !== null).join(" · ");
  find(row, ".percent").textContent = percent(prediction.score);
  row.style.setProperty("--share", String(prediction.score));
}

/**
 * @param {HTMLElement} list
 * @param {number} count Rows from now on; empty ones hold the place of the answer.
 */
export function setRows(list, count) {
  while (list.children.length > count) list.lastElementChild?.remove();
  while (list.children.length < count) list.append(instantiate("prediction-template"));
}

/** @param {HTMLElement} list @param {Prediction[]} predictions All that it is to show. */
export function showPredictions(list, predictions) {
  setRows(list, predictions.length);
  predictions.forEach((one, place) => showPrediction(/** @type {HTMLElement} */ (list.children[place]), one));
}

/** The settings that a person can reach: shows them, and takes the changes. */

import { ApiError, listModels } from "./api.js";
import { byId } from "./elements.js";
import { errorKey, t } from "./i18n.js";
import { available, readModel, showModels } from "./model_choice.js";
import { changeSettings, MOST_CLASSES, settings } from "./settings.js";

/** @param {string} id */
const field = (id) => /** @type {HTMLInputElement} */ (byId(id));

const model = /** @type {HTMLSelectElement} */ (byId("set-model"));

/** What the box has; null until it has told. @type {import("./api.js").Model[] | null} */
let models = null;

/** Write the settings into the form, in the present language. */
export function showSettings() {
  const { topK, minScore, preprocessing, explain } = settings();
  field("set-top-k").value = String(topK);
  field("set-min-score").value = String(Math.round(100 * minScore));
  field("set-preprocessing").value = preprocessing;
  field("set-explain").checked = explain;
  showModels(model, models ?? [], settings());
}

/** Take the models and variants that are there; what the address names and the box lacks falls back. */
async function fetchModels() {
  const note = byId("set-problem");
  try {
    models = (await listModels()).models;
    note.dataset.i18n = "";
  } catch (error) {
    note.dataset.i18n = errorKey(error instanceof ApiError ? error.code : "");
  }
  note.textContent = t(note.dataset.i18n);
  if (models) changeSettings(available(models, settings()));
  showModels(model, models ?? [], settings());
}

/** @param {string} id @param {number} least @param {number} most @param {number} otherwise */
function numberIn(id, least, most, otherwise) {
  const { value, valueAsNumber } = field(id);
  if (!value) return otherwise;
  return Math.min(most, Math.max(least, Math.round(valueAsNumber)));
}

function readForm() {
  const now = settings();
  changeSettings({
    topK: numberIn("set-top-k", 1, MOST_CLASSES, now.topK),
    minScore: numberIn("set-min-score", 0, 100, 100 * now.minScore) / 100,
    ...readModel(model),
    preprocessing: field("set-preprocessing").value,
    explain: field("set-explain").checked,
  });
}

/** @param {() => void} changed Called after each change by the person. */
export async function startSettings(changed) {
  const form = /** @type {HTMLFormElement} */ (byId("settings-form"));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    readForm();
    showSettings();
    changed();
  });
  byId("settings").addEventListener("toggle", () => {
    if (/** @type {HTMLDetailsElement} */ (byId("settings")).open) fetchModels();
  });
  showSettings();
  if (settings().model) await fetchModels();
}

/** The form that chooses both sides: shows them, and takes the changes. */

import { announce } from "../js/announce.js";
import { ApiError, listModels } from "../js/api.js";
import { byId } from "../js/elements.js";
import { errorKey, t } from "../js/i18n.js";
import { available, readModel, showModels } from "../js/model_choice.js";
import { askPatiently } from "../js/patience.js";
import { changeSettings, MOST_CLASSES, settings } from "../js/settings.js";
import { areNamed, areSame, changeWay, SIDES, suggest, wayOf } from "./ways.js";

/** @typedef {import("./ways.js").Side} Side */

/** What the box has; empty until it has told. @type {import("../js/api.js").Model[]} */
let models = [];
/** The words for what is wrong; empty when nothing is. */
let problem = "";

/** @param {Side} side @param {string} name @returns {HTMLSelectElement} */
const choice = (side, name) => /** @type {HTMLSelectElement} */ (byId(`${side}-${name}`));
const count = /** @type {HTMLInputElement} */ (byId("top-k"));

/** Write the sides into the form, in the present language. */
export function showForm() {
  for (const side of SIDES) {
    showModels(choice(side, "model"), models, wayOf(side));
    choice(side, "preprocessing").value = wayOf(side).preprocessing;
  }
  count.value = String(settings().topK);
  byId("form-problem").textContent = t(problem);
  byId("form-same").hidden = !areSame();
  byId("form-again").hidden = !problem;
}

/** Take the models that the box has: what the address names and it lacks falls back. */
async function fetchModels() {
  try {
    const told = await askPatiently(listModels, new AbortController().signal, () => {});
    if (!told) return;
    models = told.models;
    problem = "";
    const suggested = suggest(models, told.default);
    for (const side of SIDES) changeWay(side, areNamed ? available(models, wayOf(side)) : suggested[side]);
  } catch (error) {
    problem = errorKey(error instanceof ApiError ? error.code : "");
    announce(t(problem));
  }
  showForm();
}

/** @param {Side} side @param {(side: Side) => void} changed */
function readSide(side, changed) {
  changeWay(side, { ...readModel(choice(side, "model")), preprocessing: choice(side, "preprocessing").value });
  showForm();
  changed(side);
}

/** @param {() => void} resized Called when another number of classes is to be shown. */
function readCount(resized) {
  const wanted = Math.round(count.valueAsNumber);
  if (wanted) changeSettings({ topK: Math.min(MOST_CLASSES, Math.max(1, wanted)) });
  showForm();
  resized();
}

/**
 * @param {(side: Side) => void} changed Called when a side is to answer in another way.
 * @param {() => void} resized Called when another number of classes is to be shown.
 * @returns {Promise<void>} Fulfilled when the box has told what it has, or has failed to.
 */
export function startForm(changed, resized) {
  byId("form").addEventListener("submit", (event) => event.preventDefault());
  for (const side of SIDES) {
    for (const name of ["model", "preprocessing"]) {
      choice(side, name).addEventListener("change", () => readSide(side, changed));
    }
  }
  count.addEventListener("change", () => readCount(resized));
  byId("form-again").addEventListener("click", fetchModels);
  showForm();
  return fetchModels();
}

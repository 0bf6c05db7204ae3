/** A choice among the models that the box has, and their variants. */

import { t } from "./i18n.js";

/** @typedef {import("./api.js").Model} Model */
/** @typedef {{model: string, variant: string}} Choice Empty: the box's own choice. */

/** @param {Choice} choice @returns {string} How an option spells it. */
const spell = ({ model, variant }) => (variant ? `${model}/${variant}` : model);

/** @param {Model} one @returns {HTMLOptionElement[]} One for each variant. */
function optionsOf({ name, loaded, variants = [], problem }) {
  const note = problem ? t("set.model_broken") : loaded ? "" : t("set.model_asleep");
  /** @param {string} variant */
  const made = (variant) => {
    const text = [name, variant, note].filter(Boolean).join(" · ");
    const option = new Option(text, spell({ model: name, variant }));
    option.disabled = Boolean(problem);
    return option;
  };
  return [made(""), ...(variants.length > 1 ? variants.map((variant) => made(variant.name)) : [])];
}

/**
 * @param {HTMLSelectElement} field
 * @param {Model[]} models
 * @param {Choice} chosen It is offered even if the models do not have it.
 */
export function showModels(field, models, chosen) {
  const options = [new Option(t("set.model_own"), ""), ...models.flatMap(optionsOf)];
  const value = spell(chosen);
  if (!options.some((option) => option.value === value)) options.push(new Option(value, value));
  field.replaceChildren(...options);
  field.value = value;
}

/** @param {HTMLSelectElement} field @returns {Choice} */
export function readModel(field) {
  const [model = "", variant = ""] = field.value.split("/");
  return { model, variant };
}

/** @param {Model[]} models @param {Choice} chosen @returns {Choice} What of it the box has. */
export function available(models, { model, variant }) {
  const found = models.find(({ name }) => name === model);
  if (!found) return { model: "", variant: "" };
  return { model, variant: found.variants?.some(({ name }) => name === variant) ? variant : "" };
}

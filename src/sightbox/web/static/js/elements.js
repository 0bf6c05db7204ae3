/** Finds elements, and makes them from the page's templates. */

import { translate } from "./i18n.js";

/** @param {string} id @returns {HTMLElement} */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {ParentNode} root @param {string} selector @returns {HTMLElement} */
export const find = (root, selector) => /** @type {HTMLElement} */ (root.querySelector(selector));

/** @param {string} id @returns {HTMLElement} A fresh copy of a template's only element. */
export function instantiate(id) {
  const template = /** @type {HTMLTemplateElement} */ (byId(id));
  const copy = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
  translate(copy);
  return copy;
}

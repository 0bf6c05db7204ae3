/** Tells in the drop area what it takes, or why it took nothing. */

import { announce } from "./announce.js";
import { byId } from "./elements.js";
import { t } from "./i18n.js";

const hint = byId("hint");

/** @param {string} key The text to show until the next one. */
export function showHint(key) {
  hint.dataset.i18n = key;
  hint.textContent = t(key);
  hint.classList.toggle("warning", key !== "drop.hint");
}

/** @param {string} key Why nothing came. */
export function refuse(key) {
  showHint(key);
  announce(t(key));
}

/** What else a card offers, made when it is first opened: copies, ids, the same in code. */

import { announce } from "./announce.js";
import { showCode } from "./code_dialog.js";
import { find, instantiate } from "./elements.js";
import { copy } from "./handover.js";
import { t } from "./i18n.js";
import { toCsv, toMarkdown, toOneJson } from "./report.js";

/** @typedef {import("./card.js").Item} Item */

/** By the names on the buttons. */
const FORMS = { JSON: toOneJson, CSV: (/** @type {Item} */ item) => toCsv([item]), Markdown: toMarkdown };

/** @param {Item} item @param {HTMLButtonElement} button */
async function copyAs(item, button) {
  const form = /** @type {keyof typeof FORMS} */ (button.dataset.form);
  const copied = await copy(FORMS[form](item));
  const text = t(copied ? "copy.done" : "copy.failed", { form });
  announce(text);
  const note = button.closest(".more-body")?.querySelector(".copied");
  if (note) note.textContent = text;
}

/** @param {HTMLElement} root The card. @param {HTMLElement} button */
function toggleIds(root, button) {
  const shown = root.classList.toggle("with-ids");
  button.setAttribute("aria-pressed", String(shown));
}

/**
 * @param {Item} item
 * @param {HTMLElement} root The item's card.
 */
export function offerMore(item, root) {
  const details = /** @type {HTMLDetailsElement} */ (find(root, ".more"));
  const open = () => {
    const body = instantiate("more-template");
    for (const button of body.querySelectorAll("[data-form]")) {
      button.addEventListener("click", () => copyAs(item, /** @type {HTMLButtonElement} */ (button)));
    }
    const ids = find(body, ".ids");
    ids.addEventListener("click", () => toggleIds(root, ids));
    find(body, ".as-code").addEventListener("click", () => showCode(item));
    details.append(body);
  };
  details.addEventListener("toggle", open, { once: true });
}

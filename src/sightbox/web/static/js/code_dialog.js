/** The dialog that shows how to ask the same without the page. */

import { announce } from "./announce.js";
import { forCurl, forJavaScript, forPython, forShell } from "./code.js";
import { byId, find } from "./elements.js";
import { copy } from "./handover.js";
import { t } from "./i18n.js";
import { currentToken } from "./token.js";

/** By the values of the dialog's radio buttons. */
const FORMS = { shell: forShell, curl: forCurl, python: forPython, javascript: forJavaScript };

const dialog = /** @type {HTMLDialogElement} */ (byId("code"));
const copied = find(dialog, ".copied");

/** What the dialog was opened for. @type {import("./code.js").Question | null} */
let question = null;

function show() {
  const chosen = /** @type {HTMLInputElement} */ (find(dialog, "input:checked")).value;
  const write = FORMS[/** @type {keyof typeof FORMS} */ (chosen)];
  if (question) find(dialog, "code").textContent = write(question);
  copied.textContent = "";
}

/** @param {import("./card.js").Item} item Its name and what was chosen are filled in. */
export function showCode(item) {
  const base = new URL(".", location.href);
  question = {
    name: item.name,
    settings: item.asked,
    origin: `${base.origin}${base.pathname}`.replace(/\/$/, ""),
    token: Boolean(currentToken()),
  };
  show();
  dialog.showModal();
}

/** Listen to the dialog's buttons. */
export function startCode() {
  dialog.addEventListener("input", show);
  find(dialog, ".code-copy").addEventListener("click", async () => {
    const done = await copy(find(dialog, "code").textContent ?? "");
    copied.textContent = t(done ? "copy.done" : "copy.failed", { form: "" });
    announce(copied.textContent);
  });
}

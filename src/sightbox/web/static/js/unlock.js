/** Asks for the token, in a form on the page, once the box has asked for it. */

import { announce } from "./announce.js";
import { checkToken } from "./api.js";
import { errorKey, t } from "./i18n.js";
import { currentToken, rememberToken, takeTokenFromAddress } from "./token.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("unlock"));
const field = /** @type {HTMLInputElement} */ (document.getElementById("token"));
const problem = /** @type {HTMLElement} */ (document.getElementById("token-problem"));

/** Those who wait for a token that the box accepts. @type {(() => void)[]} */
const waiting = [];

/** @param {string} key What is wrong with the token given; empty when none was. */
function show(key) {
  problem.dataset.i18n = key;
  problem.textContent = t(key);
  field.setAttribute("aria-invalid", String(key === "token.refused"));
  form.hidden = false;
  field.focus();
  field.select();
  if (key) announce(t(key));
}

/** @param {SubmitEvent} event */
async function submit(event) {
  event.preventDefault();
  const given = field.value.trim();
  try {
    await checkToken(given);
  } catch (error) {
    const { code } = /** @type {import("./api.js").ApiError} */ (error);
    show(code === "token_needed" ? "token.refused" : errorKey(code));
    return;
  }
  rememberToken(given);
  field.value = "";
  form.hidden = true;
  document.getElementById("drop")?.focus();
  for (const resume of waiting.splice(0)) resume();
}

/** @returns {Promise<void>} Fulfilled when the box has accepted a token. */
export function waitForToken() {
  if (form.hidden) show(currentToken() && "token.refused");
  return new Promise((resolve) => waiting.push(resolve));
}

form.addEventListener("submit", submit);
// The address with the token, opened in the tab that shows the page already, loads nothing anew.
addEventListener("hashchange", () => {
  const given = takeTokenFromAddress();
  if (!given) return;
  field.value = given;
  form.requestSubmit();
});

/** Holds the page's state, the list of pictures, and joins the parts. */

import { announce } from "./announce.js";
import { ApiError, classify } from "./api.js";
import { createCard, summarise } from "./card.js";
import { rememberLanguage, startLanguage, switchLanguage, t } from "./i18n.js";
import { listen } from "./intake.js";
import { createQueue } from "./queue.js";
import { currentToken, startToken } from "./token.js";
import { waitForToken } from "./unlock.js";

/** @typedef {import("./card.js").Item & {card: import("./card.js").Card, abort: AbortController}} Entry */

/** The box answers on few cores: more at once would only wait there instead of here. */
const AT_ONCE = 2;

/** Newest drop first; within a drop, the order it came in. @type {Entry[]} */
let entries = [];

const enqueue = createQueue(AT_ONCE);
/** @param {string} id @returns {HTMLElement} */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

function showList() {
  const count = entries.length;
  byId("list").hidden = count === 0;
  document.body.classList.toggle("filled", count > 0);
  byId("count").textContent = count === 1 ? t("list.one") : t("list.many", { count });
}

/** @param {string} key The text to show in the drop area, until the next one. */
function showHint(key) {
  byId("hint").dataset.i18n = key;
  byId("hint").textContent = t(key);
  byId("hint").classList.toggle("warning", key !== "drop.hint");
}

/** @param {Entry} entry @param {Entry["state"]} state */
function setState(entry, state) {
  entry.state = state;
  entry.card.show();
}

/**
 * Ask the box; while it wants a token, the picture keeps its place in the queue.
 * @param {Entry} entry
 */
async function classifyUnlocked(entry) {
  for (;;) {
    const token = currentToken();
    setState(entry, "working");
    try {
      return await classify(entry.file, entry.abort.signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "token_needed") throw error;
    }
    setState(entry, "locked");
    // Another picture may have brought a new token while this one was under way.
    if (token === currentToken()) await waitForToken();
  }
}

/** @param {Entry} entry */
async function recognise(entry) {
  try {
    entry.result = await classifyUnlocked(entry);
    entry.state = "done";
  } catch (error) {
    entry.error = error instanceof ApiError ? error : new ApiError("unknown", String(error));
    entry.state = "failed";
  }
  // Removed meanwhile: an aborted request is never sent, or its answer is let go.
  if (entry.abort.signal.aborted) return;
  entry.card.show();
  announce(summarise(entry));
}

/** @param {Entry} entry */
function retry(entry) {
  entry.error = undefined;
  setState(entry, "waiting");
  entry.card.root.querySelector("button")?.focus();
  enqueue(() => recognise(entry));
}

/** @param {Entry} entry */
function discard(entry) {
  entry.abort.abort();
  entry.card.remove();
}

/** @param {Entry} entry */
function remove(entry) {
  const place = entries.indexOf(entry);
  discard(entry);
  entries.splice(place, 1);
  showList();
  // The focus would fall to the top of the page with the button that had it.
  const next = entries[Math.min(place, entries.length - 1)];
  (next?.card.root.querySelector("button") ?? byId("drop")).focus();
  announce(t("say.removed", { name: entry.file.name }));
}

function clear() {
  entries.forEach(discard);
  entries = [];
  showList();
  byId("drop").focus();
}

/** @param {File} file @returns {Entry} */
function createEntry(file) {
  const entry = /** @type {Entry} */ ({ file, state: "waiting", abort: new AbortController() });
  const actions = { remove: () => remove(entry), retry: () => retry(entry) };
  entry.card = createCard(entry, actions);
  return entry;
}

/** @param {File[]} files */
function take(files) {
  const fresh = files.map(createEntry);
  byId("cards").prepend(...fresh.map((entry) => entry.card.root));
  entries = [...fresh, ...entries];
  showHint("drop.hint");
  showList();
  for (const entry of fresh) enqueue(() => recognise(entry));
}

/** @param {string} key Why nothing came. */
function refuse(key) {
  showHint(key);
  announce(t(key));
}

/** @param {MouseEvent} event */
async function changeLanguage(event) {
  const link = /** @type {HTMLElement} */ (event.currentTarget);
  const code = /** @type {import("./i18n.js").Language} */ (link.dataset.language);
  event.preventDefault();
  try {
    await switchLanguage(code);
  } catch {
    refuse("error.network");
    return;
  }
  rememberLanguage(code);
  showList();
  for (const entry of entries) entry.card.show();
}

startToken();
await startLanguage();
listen(take, refuse);
byId("clear").addEventListener("click", clear);
for (const link of document.querySelectorAll(".languages a")) {
  link.addEventListener("click", (event) => changeLanguage(/** @type {MouseEvent} */ (event)));
}
document.documentElement.dataset.ready = "";

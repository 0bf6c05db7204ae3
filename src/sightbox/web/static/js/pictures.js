/** The list of pictures: the page's state, and what may be done to it. */

import { announce } from "./announce.js";
import { ApiError, classify } from "./api.js";
import { createCard, summarise } from "./card.js";
import { byId } from "./elements.js";
import { t } from "./i18n.js";
import { nameOf } from "./folder.js";
import { askPatiently } from "./patience.js";
import { pauseFor } from "./pause.js";
import { createQueue } from "./queue.js";
import { sameSettings, settings } from "./settings.js";

/** @typedef {import("./card.js").Item & {card: import("./card.js").Card, abort: AbortController, quiet: boolean}} Entry */

/** As many as keep a box of few cores busy: more would only wait there instead of here. */
const AT_ONCE = 4;
const CARDS_AT_ONCE = 20;
/** A larger drop is announced once, when all its pictures are answered. */
const TOLD_SINGLY = 5;

/** Newest drop first; within a drop, the order it came in. @type {Entry[]} */
let entries = [];
/** What to do after each change. */
let changed = () => {};

const enqueue = createQueue(AT_ONCE);

/** @param {Entry} entry */
const isPending = ({ state }) => !["done", "failed", "stopped"].includes(state);

/** @param {Entry} entry @param {Entry["state"]} state */
function setState(entry, state) {
  entry.state = state;
  entry.card.show();
}

/** @param {Entry} entry @param {number} sent */
function setSent(entry, sent) {
  // A quick upload goes from nothing to all: that needs no words on the way.
  const shown = entry.sent < 1 && (sent < 1 || entry.sent > 0);
  entry.sent = sent;
  if (shown && entry.state === "working") entry.card.show();
}

/**
 * @param {Entry} entry Gets its candidates.
 * @param {import("./settings.js").Settings} chosen
 * @returns {Promise<import("./api.js").Result>} With the classes that are to be shown.
 */
async function ask(entry, chosen) {
  const { signal } = entry.abort;
  const result = await classify(entry.file, chosen, signal, (sent) => setSent(entry, sent));
  entry.candidates = result.predictions.slice(0, 2);
  const shown = result.predictions.slice(0, chosen.topK).filter(({ score }) => score >= chosen.minScore);
  return { ...result, predictions: shown };
}

/**
 * Ask the box; while it wants a token or is full, the picture keeps its place in the queue.
 * @param {Entry} entry
 */
const answer = (entry) =>
  askPatiently(() => ask(entry, entry.asked), entry.abort.signal, (state, seconds) => {
    entry.sent = 0;
    entry.pause = seconds;
    setState(entry, state);
  });

/** @param {Entry} entry */
function tell(entry) {
  if (!entry.quiet) announce(summarise(entry));
  else if (!entries.some(isPending)) announce(t("say.all", counts()));
}

/** @param {Entry} entry */
async function recognise(entry) {
  const { signal } = entry.abort;
  // Stopped or removed before its turn, or while under way: its answer is let go.
  if (signal.aborted) return;
  try {
    const result = await answer(entry);
    if (signal.aborted) return;
    entry.result = result;
    entry.state = "done";
  } catch (error) {
    if (signal.aborted) return;
    entry.error = error instanceof ApiError ? error : new ApiError("unknown", String(error));
    entry.state = "failed";
  }
  entry.card.show();
  changed();
  tell(entry);
}

/** @param {Entry} entry */
function start(entry) {
  entry.abort = new AbortController();
  entry.asked = { ...settings() };
  entry.error = entry.result = undefined;
  setState(entry, "waiting");
  enqueue(() => recognise(entry));
}

/** @param {Entry} entry */
function retry(entry) {
  start(entry);
  entry.card.root.querySelector("button")?.focus();
  changed();
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
  changed();
  // The focus would fall to the top of the page with the button that had it.
  const next = entries[Math.min(place, entries.length - 1)];
  (next?.card.root.querySelector("button") ?? byId("drop")).focus();
  announce(t("say.removed", { name: entry.name }));
}

/** @param {File} file @param {boolean} quiet @returns {Entry} */
function createEntry(file, quiet) {
  const asked = { ...settings() };
  /** @type {Omit<Entry, "card">} */
  const made = {
    file, name: nameOf(file), state: "waiting", sent: 0, pause: 0, candidates: [], quiet, asked,
    abort: new AbortController(),
  };
  const entry = /** @type {Entry} */ (made);
  entry.card = createCard(entry, {
    remove: () => remove(entry),
    retry: () => retry(entry),
    explain: () => ask(entry, { ...entry.asked, explain: true }),
  });
  return entry;
}

/** @param {() => void} listener Called after each change of the list. */
export function onPictures(listener) {
  changed = listener;
}

/** @param {Entry[]} fresh @param {Comment} mark The cards come before it. */
function insert(fresh, mark) {
  const next = mark.nextElementSibling;
  const place = next ? entries.findIndex(({ card }) => card.root === next) : entries.length;
  entries.splice(place, 0, ...fresh);
  mark.before(...fresh.map(({ card }) => card.root));
  for (const entry of fresh) enqueue(() => recognise(entry));
}

/**
 * Show pictures above those that came before, and recognise them in their order. They come a few at
 * a time, so that the page stays awake.
 * @param {File[]} files
 */
export async function take(files) {
  const mark = document.createComment("");
  byId("cards").prepend(mark);
  for (let first = 0; first < files.length; first += CARDS_AT_ONCE) {
    if (first) await pauseFor(0);
    // All was cleared meanwhile.
    if (!mark.isConnected) return;
    const some = files.slice(first, first + CARDS_AT_ONCE);
    insert(some.map((file) => createEntry(file, files.length > TOLD_SINGLY)), mark);
    changed();
  }
  mark.remove();
}

export function clear() {
  entries.forEach(discard);
  entries = [];
  byId("cards").replaceChildren();
  changed();
}

/** Let go of all pictures that have no answer yet; they stay and can be tried again. */
export function stop() {
  for (const entry of entries.filter(isPending)) {
    entry.abort.abort();
    setState(entry, "stopped");
  }
  changed();
}

/** @param {Entry} entry @returns {boolean} Whether it was asked otherwise than one would now. */
const isStale = (entry) => entry.state === "done" && !sameSettings(entry.asked, settings());

/** Ask again for each picture that was asked with other settings. */
export function askAgain() {
  entries.filter(isStale).forEach(start);
  changed();
}

/** Write all cards in the present language. */
export function showPictures() {
  for (const entry of entries) entry.card.show();
}

/** @returns {{count: number, done: number, failed: number, pending: number, stale: number}} */
export function counts() {
  /** @param {(entry: Entry) => boolean} test */
  const count = (test) => entries.filter(test).length;
  return {
    count: entries.length,
    done: count(({ state }) => state === "done"),
    failed: count(({ state }) => state === "failed"),
    pending: count(isPending),
    stale: count(isStale),
  };
}

/** @returns {import("./report.js").Outcome[]} Answers and failures, in the order on the page. */
export const outcomes = () => entries.filter(({ state }) => state === "done" || state === "failed");

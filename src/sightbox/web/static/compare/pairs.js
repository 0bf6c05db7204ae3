/** The list of pictures, each asked of both sides: the page's state, and what may be done to it. */

import { ApiError, classify } from "../js/api.js";
import { byId } from "../js/elements.js";
import { nameOf } from "../js/folder.js";
import { askPatiently } from "../js/patience.js";
import { pauseFor } from "../js/pause.js";
import { createQueue } from "../js/queue.js";
import { differenceOf } from "./difference.js";
import { createRow } from "./row.js";
import { isPending } from "./summary.js";
import { questionOf, SIDES } from "./ways.js";

/** @typedef {import("./ways.js").Side} Side */

/**
 * @typedef {object} Answer
 * @property {import("../js/status.js").State} state
 * @property {number} pause Seconds until the box is asked again, when busy.
 * @property {AbortController} abort
 * @property {import("./difference.js").Result} [result] When done.
 * @property {ApiError} [error] When failed.
 */

/**
 * @typedef {object} Pair
 * @property {File} file
 * @property {string} name The file's name, below the folder that it came with.
 * @property {number} order When it came, from 0.
 * @property {Answer} left
 * @property {Answer} right
 * @property {import("./difference.js").Difference} [difference] When both sides have answered.
 * @property {import("./row.js").Row} row
 */

/** As many as keep a box of few cores busy: more would only wait there instead of here. */
const AT_ONCE = 4;
const ROWS_AT_ONCE = 20;

const list = byId("pairs");
const enqueue = createQueue(AT_ONCE);

/** In the order on the page. @type {Pair[]} */
let pairs = [];
let taken = 0;
/** What to do after each change. */
let changed = () => {};
/** Fulfilled when it is known what the sides are. @type {Promise<void>} */
let ready = Promise.resolve();
/** Ended when all is cleared. */
let session = new AbortController();

/** @returns {Answer} */
const fresh = () => ({ state: "waiting", pause: 0, abort: new AbortController() });

/** @param {Pair} pair @returns {number} Disagreements first, then agreements, failures, and the rest. */
function rankOf(pair) {
  if (pair.difference) return pair.difference.same ? 1 : 0;
  return isPending(pair) ? 3 : 2;
}

/** @param {Pair} one @param {Pair} other @returns {number} Negative when the one comes first. */
const compare = (one, other) =>
  rankOf(one) - rankOf(other)
  || (other.difference?.change ?? 0) - (one.difference?.change ?? 0)
  || one.order - other.order;

/** @param {Pair} pair Brings it to its place in the list; the focus within it stays. */
function place(pair) {
  const { root } = pair.row;
  const others = pairs.filter((one) => one !== pair);
  const next = others.findIndex((one) => compare(pair, one) < 0);
  const before = others[next]?.row.root ?? null;
  pairs = next < 0 ? [...others, pair] : [...others.slice(0, next), pair, ...others.slice(next)];
  if (root.isConnected && root.nextElementSibling === before) return;
  const focused = root.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
  list.insertBefore(root, before);
  focused?.focus({ preventScroll: true });
}

/** @param {Pair} pair Shows what has become of it. */
function update(pair) {
  const [left, right] = [pair.left.result, pair.right.result];
  pair.difference = left && right && differenceOf(left, right);
  pair.row.show();
  place(pair);
  changed();
}

/** @param {Pair} pair @param {Side} side @param {Answer} answer Gets what the box says. */
async function ask(pair, side, answer) {
  const { signal } = answer.abort;
  await ready;
  // Stopped, cleared or asked otherwise before its turn: its answer is let go.
  if (signal.aborted) return;
  try {
    const question = questionOf(side);
    const result = await askPatiently(() => classify(pair.file, question, signal), signal, (state, seconds) => {
      Object.assign(answer, { state, pause: seconds });
      pair.row.show();
    });
    if (signal.aborted) return;
    Object.assign(answer, { state: "done", result });
  } catch (error) {
    if (signal.aborted) return;
    const told = error instanceof ApiError ? error : new ApiError("unknown", String(error));
    Object.assign(answer, { state: "failed", error: told });
  }
  update(pair);
}

/** @param {Pair} pair @param {Side} side Asks it anew; what was under way is let go. */
function start(pair, side) {
  pair[side].abort.abort();
  const answer = (pair[side] = fresh());
  enqueue(() => ask(pair, side, answer));
}

/** @param {Pair} pair Asks the sides again that have no answer. */
function retry(pair) {
  for (const side of SIDES) if (!pair[side].result) start(pair, side);
  update(pair);
  pair.row.root.focus();
}

/** @param {File} file */
function add(file) {
  /** @type {Omit<Pair, "row">} */
  const made = { file, name: nameOf(file), order: taken++, left: fresh(), right: fresh() };
  const pair = /** @type {Pair} */ (made);
  pair.row = createRow(pair, () => retry(pair));
  place(pair);
  for (const side of SIDES) start(pair, side);
  pair.row.show();
}

/** @param {() => void} listener Called after each change of the list. */
export function onPairs(listener) {
  changed = listener;
}

/** @param {Promise<void>} known No picture is sent before it. */
export function waitFor(known) {
  ready = known;
}

/**
 * Show pictures and ask both sides about them, a few rows at a time, so that the page stays awake.
 * @param {File[]} files
 */
export async function take(files) {
  const { signal } = session;
  for (let first = 0; first < files.length; first += ROWS_AT_ONCE) {
    if (first) await pauseFor(0);
    if (signal.aborted) return;
    files.slice(first, first + ROWS_AT_ONCE).forEach(add);
    changed();
  }
}

/** @param {Side} side Asks it about all pictures again: it answers in another way now. */
export function askAgain(side) {
  for (const pair of [...pairs]) {
    start(pair, side);
    update(pair);
  }
}

export function stop() {
  for (const pair of pairs.filter(isPending)) {
    for (const side of SIDES) {
      if (["done", "failed"].includes(pair[side].state)) continue;
      pair[side].abort.abort();
      pair[side].state = "stopped";
    }
    update(pair);
  }
}

export function clear() {
  session.abort();
  session = new AbortController();
  for (const pair of pairs) {
    for (const side of SIDES) pair[side].abort.abort();
    pair.row.remove();
  }
  pairs = [];
  changed();
}

/** Write all rows in the present language, with as many classes as are chosen. */
export function showPairs() {
  for (const pair of pairs) pair.row.show();
}

/** @returns {readonly Pair[]} In the order on the page. */
export const allPairs = () => pairs;

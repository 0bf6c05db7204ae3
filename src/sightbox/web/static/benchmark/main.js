/** Joins the page of the benchmark: starts a run, watches it, and shows what came of it. */

import { announce } from "../js/announce.js";
import { ApiError } from "../js/api.js";
import { byId } from "../js/elements.js";
import { errorKey, language, rememberLanguage, startLanguage, switchLanguage, t } from "../js/i18n.js";
import { currentToken, startToken } from "../js/token.js";
import { waitForToken } from "../js/unlock.js";
import { cancelRun, readProgress, readReport, startRun } from "./ask.js";

/** @typedef {import("./ask.js").Progress} Progress */

const EVERY_MS = 1000;

/** What was heard last. @type {Progress | null} */
let progress = null;
/** Why the box could not be asked. @type {ApiError | null} */
let failure = null;
/** Whether the run that ended was seen here: only its end is news. */
let watched = false;
/** Whether somebody waits for what the box will say. */
let busy = false;
let timer = 0;

const bar = /** @type {HTMLProgressElement} */ (byId("bar"));
const start = /** @type {HTMLButtonElement} */ (byId("start"));
const cancel = /** @type {HTMLButtonElement} */ (byId("cancel"));

/** @param {Progress} now */
function showStep(now) {
  byId("phase").textContent = t(`bench.phase.${now.phase}`, { way: now.way, round: now.round ?? "" });
  byId("seconds").textContent = t("bench.seconds", { seconds: Math.round(now.seconds) });
  if (now.total) {
    bar.max = now.total;
    bar.value = now.done;
  } else {
    bar.value = 0;
  }
}

/** @returns {{text: string, hint: string, detail: string, failed: boolean} | null} What came of it. */
function outcome() {
  if (failure) {
    const key = errorKey(failure.code);
    return { text: t(key), hint: t(`${key}.hint`), detail: failure.detail, failed: true };
  }
  if (!progress?.outcome || !watched) return null;
  const { outcome: end, problem } = progress;
  const hint = end === "done" && problem ? t("bench.unkept") : "";
  return { text: t(`bench.said.${end}`), hint, detail: problem ?? "", failed: end === "failed" };
}

/** The button that had the focus may be gone: the other one takes its place. */
function keepFocus() {
  if (document.activeElement === document.body) (start.hidden ? cancel : start).focus();
}

function show() {
  const running = Boolean(progress?.running);
  start.hidden = running;
  start.disabled = cancel.disabled = busy;
  byId("about").hidden = running;
  byId("about").textContent = t("bench.about", { model: byId("about").dataset.model ?? "" });
  byId("going").hidden = !running;
  if (progress && running) showStep(progress);
  const told = outcome();
  byId("outcome").hidden = !told;
  byId("outcome").classList.toggle("failed", Boolean(told?.failed));
  byId("outcome-text").textContent = told?.text ?? "";
  byId("outcome-hint").textContent = told?.hint ?? "";
  byId("outcome-detail").textContent = told?.detail ?? "";
}

/**
 * Ask the box; while it wants a token, the question waits.
 * @template T
 * @param {() => Promise<T>} question
 * @returns {Promise<T>}
 * @throws {ApiError}
 */
async function unlocked(question) {
  for (;;) {
    const token = currentToken();
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "token_needed") throw error;
    }
    if (token === currentToken()) await waitForToken();
    // The form that had the focus is gone.
    (start.hidden ? cancel : start).focus();
  }
}

async function showReport() {
  const report = await unlocked(() => readReport(language()));
  if (report) byId("report").replaceWith(document.importNode(report, true));
}

/** @param {Progress} now */
async function take(now) {
  const before = progress;
  progress = now;
  failure = null;
  if (now.running) {
    watched = true;
    timer = window.setTimeout(look, EVERY_MS);
    if (!before?.running) announce(t("bench.said.started"));
  } else if (before?.running) {
    await showReport();
    announce(t(`bench.said.${now.outcome}`));
  }
}

/**
 * Ask something about the run, and show the answer or why there is none.
 * @param {() => Promise<Progress>} question
 */
async function ask(question) {
  clearTimeout(timer);
  try {
    await take(await unlocked(question));
  } catch (error) {
    failure = error instanceof ApiError ? error : new ApiError("unknown", String(error));
    announce(t(errorKey(failure.code)));
    if (failure.code === "benchmark_running") await watchOther();
    // A box that is busy measuring may be slow to answer: it is asked again.
    else if (progress?.running) timer = window.setTimeout(look, EVERY_MS);
  }
  const focused = document.activeElement === cancel;
  show();
  if (focused) keepFocus();
}

/** Somebody else has started a run: it is watched, and the refusal stays on the page. */
async function watchOther() {
  const refused = failure;
  await take(await readProgress());
  failure = refused;
}

function look() {
  ask(readProgress);
}

/** @param {() => Promise<Progress>} question */
async function press(question) {
  busy = true;
  show();
  try {
    await ask(question);
  } finally {
    busy = false;
    show();
    keepFocus();
  }
}

/** @param {MouseEvent} event */
async function changeLanguage(event) {
  const link = /** @type {HTMLElement} */ (event.currentTarget);
  const code = /** @type {import("../js/i18n.js").Language} */ (link.dataset.language);
  event.preventDefault();
  try {
    await switchLanguage(code);
    rememberLanguage(code);
    await showReport();
  } catch (error) {
    failure = error instanceof ApiError ? error : new ApiError("network");
  }
  show();
}

startToken();
const given = language();
await startLanguage();
start.addEventListener("click", () => press(startRun));
cancel.addEventListener("click", () => press(cancelRun));
for (const link of document.querySelectorAll(".languages a")) {
  link.addEventListener("click", (event) => changeLanguage(/** @type {MouseEvent} */ (event)));
}
document.documentElement.dataset.ready = "";
await ask(readProgress);
// The server drew the page without the token, or in another language than the remembered one.
if (currentToken() || language() !== given) await showReport();

/** Holds the page's state, one picture and its walk, and joins the parts. */

import { announce } from "../js/announce.js";
import { ApiError, megabytes } from "../js/api.js";
import { byId } from "../js/elements.js";
import { refuse, showHint } from "../js/hint.js";
import { decimal, errorKey, listenToLanguages, rememberLanguage, startLanguage, t } from "../js/i18n.js";
import { currentToken, startToken } from "../js/token.js";
import { waitForToken } from "../js/unlock.js";
import { listNetworks, walkThrough } from "./ask.js";
import { listen } from "./intake.js";
import { answerOf, createSignpost, createStep } from "./steps.js";

/**
 * @typedef {object} State
 * @property {File} [file] The picture.
 * @property {"" | "lesson.working" | "lesson.locked"} busy What is said while there is no answer.
 * @property {import("./ask.js").Walk} [walk] The answer.
 * @property {ApiError} [error] Why there is none.
 */

/** @type {State} */
let state = { busy: "" };
let abort = new AbortController();
let networksKnown = false;

const choice = /** @type {HTMLSelectElement} */ (byId("model"));

/** @param {import("./ask.js").Walk} walk */
function showWalk(walk) {
  const { steps, model } = walk;
  const { label, percent } = answerOf(walk);
  const work = steps.reduce((sum, { ms }) => sum + (ms ?? 0), 0);
  const crop = steps.find(({ kind }) => kind === "crop")?.photos.at(-1) ?? "";
  const seen = /** @type {HTMLImageElement} */ (byId("seen"));
  seen.src = crop;
  seen.alt = t("lesson.picture");
  byId("answer").textContent = t("lesson.answer", { label, percent });
  byId("by").textContent = t("lesson.by", { title: model.title, steps: steps.length, ms: decimal(work) });
  byId("way").replaceChildren(...steps.map((step, place) => createSignpost(walk, step, place)));
  byId("steps").replaceChildren(...steps.map((step, place) => createStep(walk, step, place)));
}

/** @param {ApiError} error */
function showProblem(error) {
  const key = errorKey(error.code);
  byId("problem-title").textContent = t(key);
  byId("problem-hint").textContent = t(`${key}.hint`, { size: decimal(state.file ? megabytes(state.file) : 0) });
  byId("problem-detail").textContent = error.detail;
}

function show() {
  document.body.classList.toggle("filled", Boolean(state.file));
  byId("working").hidden = !state.busy;
  byId("working-text").textContent = state.busy && t(state.busy);
  byId("walk").hidden = !state.walk;
  byId("walk").setAttribute("aria-busy", String(Boolean(state.busy)));
  byId("problem").hidden = !state.error;
  if (state.walk) showWalk(state.walk);
  if (state.error) showProblem(state.error);
}

/** @param {Partial<State>} change */
function setState(change) {
  state = { ...state, ...change };
  show();
}

/** Offer the choice of networks, once there is more than one. */
async function offerNetworks() {
  if (networksKnown) return;
  const networks = await listNetworks();
  const options = networks.map(({ name, title }) => new Option(title, name));
  choice.replaceChildren(...options);
  byId("model-choice").hidden = networks.length < 2;
  networksKnown = true;
}

/**
 * Ask the box; while it wants a token, the picture waits.
 * @param {File} file
 * @param {AbortSignal} signal
 */
async function walkUnlocked(file, signal) {
  for (;;) {
    const token = currentToken();
    setState({ busy: "lesson.working" });
    try {
      return await walkThrough(file, networksKnown ? choice.value : "", signal);
    } catch (error) {
      if (signal.aborted || !(error instanceof ApiError) || error.code !== "token_needed") throw error;
    }
    setState({ busy: "lesson.locked" });
    if (token === currentToken()) await waitForToken();
  }
}

/** @param {File} file */
async function takeIn(file) {
  abort.abort();
  const { signal } = (abort = new AbortController());
  showHint("drop.hint");
  state = { file, busy: "lesson.working" };
  try {
    const found = await walkUnlocked(file, signal);
    if (signal.aborted) return;
    setState({ busy: "", walk: found });
    announce(t("lesson.say", { ...answerOf(found), steps: found.steps.length }));
    await offerNetworks();
    choice.value = found.model.name;
  } catch (error) {
    // Another picture came in between: this one's failure is nobody's concern.
    if (signal.aborted) return;
    const told = error instanceof ApiError ? error : new ApiError("unknown", String(error));
    setState({ busy: "", error: told });
    announce(t(errorKey(told.code)));
  }
}

function again() {
  if (state.file) takeIn(state.file);
}

/** @param {import("../js/i18n.js").Language} code */
function changeLanguage(code) {
  rememberLanguage(code);
  show();
}

startToken();
await startLanguage();
listen(takeIn, refuse);
byId("retry").addEventListener("click", again);
byId("print").addEventListener("click", () => print());
choice.addEventListener("change", again);
listenToLanguages(changeLanguage, () => refuse("error.network"));
document.documentElement.dataset.ready = "";

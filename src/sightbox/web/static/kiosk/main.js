/** The view for exhibitions: one picture, one answer, and back to the start for the next visitor. */

import { announce } from "../js/announce.js";
import { ApiError, classify } from "../js/api.js";
import { leaveCamera, startCamera } from "../js/camera.js";
import { byId, find, instantiate } from "../js/elements.js";
import { refuse, showHint } from "../js/hint.js";
import { errorKey, labelOf, language, listenToLanguages, percent, startLanguage, switchLanguage, t } from "../js/i18n.js";
import { askPatiently } from "../js/patience.js";
import { showPredictions } from "../js/predictions.js";
import { showPreview } from "../js/preview.js";
import { showProblem } from "../js/problem.js";
import { settings } from "../js/settings.js";
import { describeState } from "../js/status.js";
import { startToken } from "../js/token.js";
import { verdict } from "../js/verdict.js";
import { listen } from "../lesson/intake.js";
import { offerFullScreen, showFullScreen } from "./full_screen.js";
import { NOTICE_S, watchIdle } from "./idle.js";

/**
 * @typedef {object} Visit A picture and what became of it.
 * @property {File} file
 * @property {import("../js/status.js").State} state
 * @property {number} pause Seconds until the box is asked again, when busy.
 * @property {AbortController} abort
 * @property {() => void} remove Takes its picture off the page.
 * @property {import("../js/api.js").Result} [result] When done.
 * @property {ApiError} [error] When failed.
 */

/** As many classes as are read at a glance. */
const ROWS = 3;
const IDLE_S = 60;
const LONGEST_IDLE_S = 3600;

const root = byId("visit");

/** What is shown; null at the start. @type {Visit | null} */
let visit = null;
let restart = () => {};

/** @returns {number} Seconds without input after which the view starts over, as the address says. */
function idleSeconds() {
  const asked = Number(new URLSearchParams(location.search).get("idle"));
  return asked >= 2 * NOTICE_S && asked <= LONGEST_IDLE_S ? asked : IDLE_S;
}

/** @param {Visit} shown */
function showVisit({ file, state, pause, result, error }) {
  const predictions = result?.predictions.slice(0, ROWS) ?? [];
  find(root, "img").setAttribute("alt", t("card.preview", { name: file.name }));
  byId("verdict").textContent = result ? verdict(result.predictions, result.sure, predictions.length) : describeState(state, pause);
  byId("verdict").hidden = Boolean(error);
  showPredictions(find(root, ".predictions"), predictions);
  find(root, ".problem").hidden = !error;
  if (error) showProblem(root, error, file);
  root.dataset.state = state;
}

function show() {
  root.hidden = !visit;
  document.body.classList.toggle("visited", visit !== null);
  if (visit) showVisit(visit);
  showFullScreen();
}

/** @param {Visit} mine Gets what the box says. */
async function ask(mine) {
  const { signal } = mine.abort;
  const question = { ...settings(), topK: ROWS, minScore: 0, explain: false };
  try {
    const result = await askPatiently(() => classify(mine.file, question, signal), signal, (state, seconds) => {
      Object.assign(mine, { state, pause: seconds });
      show();
    });
    if (signal.aborted || !result) return;
    Object.assign(mine, { state: "done", result });
    const [best] = result.predictions;
    if (best) announce(t("kiosk.say", { label: labelOf(best), percent: percent(best.score) }));
  } catch (error) {
    if (signal.aborted) return;
    const told = error instanceof ApiError ? error : new ApiError("unknown", String(error));
    Object.assign(mine, { state: "failed", error: told });
    announce(t(errorKey(told.code)));
  }
  show();
  // Whoever waited for it has the whole time to read it.
  restart();
}

function forget() {
  visit?.abort.abort();
  visit?.remove();
  visit = null;
}

/** @param {File} file @returns {() => void} Takes its picture off the page. */
function showPicture(file) {
  const picture = instantiate("picture-template");
  const free = showPreview(picture, file);
  root.prepend(picture);
  return () => {
    picture.remove();
    free();
  };
}

/** @param {File} file */
function take(file) {
  forget();
  leaveCamera();
  showHint("");
  visit = { file, state: "waiting", pause: 0, abort: new AbortController(), remove: showPicture(file) };
  ask(visit);
  byId("again").focus();
}

function retry() {
  if (visit) take(visit.file);
}

startToken();
await startLanguage();

/** The language of the exhibition; each visitor may choose another. */
const home = language();

/** @returns {boolean} Whether the view is as the next visitor should find it. */
const isClean = () => !visit && byId("camera").hidden && language() === home;

async function startOver() {
  forget();
  showHint("");
  show();
  // The button that it gives the focus to must be there again.
  leaveCamera();
  scrollTo(0, 0);
  if (language() === home) return;
  try {
    await switchLanguage(home);
    show();
  } catch {
    refuse("error.network");
  }
}

/** @param {KeyboardEvent} event Escape leads back to the start, and from there to the full page. */
function escape({ key }) {
  if (key !== "Escape") return;
  if (isClean()) location.assign("./");
  else startOver();
}

listen(take, refuse);
startCamera(([file]) => file && take(file));
offerFullScreen();
listenToLanguages(show, () => refuse("error.network"));
// The button that had the focus makes room for the camera.
byId("camera-open").addEventListener("click", () => byId("camera-close").focus());
byId("again").addEventListener("click", startOver);
find(root, ".retry").addEventListener("click", retry);
addEventListener("keydown", escape);
restart = watchIdle(idleSeconds(), (near) => {
  byId("notice").hidden = !near || isClean();
}, startOver);
show();
document.documentElement.dataset.ready = "";

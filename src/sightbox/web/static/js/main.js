/** Joins the parts of the page. */

import { startCamera } from "./camera.js";
import { startCode } from "./code_dialog.js";
import { byId } from "./elements.js";
import { download } from "./handover.js";
import { refuse, showHint } from "./hint.js";
import { listenToLanguages, rememberLanguage, startLanguage, t } from "./i18n.js";
import { listen } from "./intake.js";
import { askAgain, clear, counts, onPictures, outcomes, showPictures, stop, take } from "./pictures.js";
import { toCsv, toJson } from "./report.js";
import { offerSamples } from "./samples.js";
import { showSettings, startSettings } from "./settings_form.js";
import { startToken } from "./token.js";
import { startWorker } from "./worker.js";

function showList() {
  const { count, done, failed, pending, stale } = counts();
  byId("list").hidden = count === 0;
  document.body.classList.toggle("filled", count > 0);
  const key = pending ? "list.progress" : count === 1 ? "list.one" : "list.many";
  byId("count").textContent = t(key, { count, done: done + failed });
  byId("stop").hidden = pending === 0;
  byId("again").hidden = stale === 0;
  byId("save").hidden = done + failed === 0;
}

/** @param {File[]} files */
function takeIn(files) {
  showHint("drop.hint");
  take(files);
}

/** @param {import("./i18n.js").Language} code */
function changeLanguage(code) {
  rememberLanguage(code);
  showList();
  showSettings();
  showPictures();
}

/** @type {[string, () => void][]} */
const BUTTONS = [
  ["stop", stop],
  ["again", askAgain],
  ["save-csv", () => download("sightbox.csv", "text/csv", toCsv(outcomes()))],
  ["save-json", () => download("sightbox.json", "application/json", toJson(outcomes()))],
  ["clear", () => {
    clear();
    byId("drop").focus();
  }],
];

startToken();
await startLanguage();
onPictures(showList);
listen(takeIn, refuse);
offerSamples(takeIn);
startCamera(takeIn);
startCode();
startSettings(showList);
for (const [id, act] of BUTTONS) byId(id).addEventListener("click", act);
listenToLanguages(changeLanguage, () => refuse("error.network"));
document.documentElement.dataset.ready = "";
startWorker();

/** Joins the parts of the page that compares. */

import { announce } from "../js/announce.js";
import { byId } from "../js/elements.js";
import { download } from "../js/handover.js";
import { refuse, showHint } from "../js/hint.js";
import { decimal, listenToLanguages, percent, rememberLanguage, startLanguage, t } from "../js/i18n.js";
import { listen } from "../js/intake.js";
import { offerSamples } from "../js/samples.js";
import { startToken } from "../js/token.js";
import { toCsv, toJson } from "./export.js";
import { showForm, startForm } from "./form.js";
import { allPairs, askAgain, clear, onPairs, showPairs, stop, take, waitFor } from "./pairs.js";
import { summarise } from "./summary.js";

/** Whether pictures were on their way when the list was shown last. */
let busy = false;

/** @param {import("./summary.js").Summary} summary */
function showFigures({ compared, same, agreement, mean, largest, ms }) {
  byId("figures").hidden = compared === 0;
  byId("agreement").textContent = t("compare.agreement.value", { percent: percent(agreement), same, compared });
  byId("change").textContent = t("compare.change.value", { mean: decimal(100 * mean), largest: decimal(100 * largest) });
  byId("time").textContent = t("compare.time.value", { left: decimal(ms.left), right: decimal(ms.right) });
}

function showList() {
  const summary = summarise([...allPairs()]);
  const { count, compared, failed, pending, same } = summary;
  byId("list").hidden = count === 0;
  document.body.classList.toggle("filled", count > 0);
  const key = pending ? "list.progress" : count === 1 ? "list.one" : "list.many";
  byId("count").textContent = t(key, { count, done: count - pending });
  byId("failed").textContent = failed ? t("compare.failed", { failed }) : "";
  byId("stop").hidden = pending === 0;
  byId("save").hidden = compared + failed === 0;
  showFigures(summary);
  if (busy && !pending && count) announce(t("compare.say", { compared, same, failed }));
  busy = pending > 0;
}

/** @param {File[]} files */
function takeIn(files) {
  showHint("drop.hint");
  take(files);
}

/** @param {import("../js/i18n.js").Language} code */
function changeLanguage(code) {
  rememberLanguage(code);
  showForm();
  showPairs();
  showList();
}

/** @type {[string, () => void][]} */
const BUTTONS = [
  ["stop", stop],
  ["save-csv", () => download("comparison.csv", "text/csv", toCsv(allPairs()))],
  ["save-json", () => download("comparison.json", "application/json", toJson(allPairs()))],
  ["clear", () => {
    clear();
    byId("drop").focus();
  }],
];

startToken();
await startLanguage();
onPairs(showList);
listen(takeIn, refuse);
offerSamples(takeIn);
waitFor(startForm(askAgain, showPairs));
for (const [id, act] of BUTTONS) byId(id).addEventListener("click", act);
listenToLanguages(changeLanguage, () => refuse("error.network"));
document.documentElement.dataset.ready = "";

/** Says in words where a picture is on its way to an answer. */

import { t } from "./i18n.js";

/** @typedef {"waiting" | "working" | "locked" | "busy" | "stopped" | "done" | "failed"} State */

/** @type {Partial<Record<State, string>>} */
const WORDS = {
  waiting: "card.waiting",
  working: "card.working",
  locked: "card.locked",
  busy: "card.busy",
  stopped: "card.stopped",
};

/**
 * @param {State} state
 * @param {number} pause Seconds until a busy box is asked again.
 * @param {number} [sent] How much of the picture has been sent, 0 to 1, while working.
 * @returns {string} Empty when there is an answer or a problem.
 */
export function describeState(state, pause, sent = 0) {
  if (state === "working" && sent > 0 && sent < 1) return t("card.sending", { percent: Math.floor(100 * sent) });
  return t(WORDS[state] ?? "", { seconds: pause });
}

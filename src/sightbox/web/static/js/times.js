/** Shows where the time of an answer went: one thin bar, and its legend. */

import { find, instantiate } from "./elements.js";
import { decimal, t } from "./i18n.js";

/** @typedef {import("./api.js").Result["timings_ms"]} Timings In milliseconds. */

const STAGES = /** @type {const} */ (["decode", "preprocess", "queue", "infer"]);

/** @param {HTMLElement} root A copy of the card's `.timing`. @param {Timings} timings */
export function showTimes(root, timings) {
  find(root, ".total").textContent = `${decimal(timings.total)} ms`;
  const bar = find(root, ".times");
  const legend = find(root, ".stages");
  bar.replaceChildren();
  legend.replaceChildren();
  for (const stage of STAGES) {
    const piece = document.createElement("span");
    piece.dataset.stage = stage;
    piece.style.setProperty("--share", String(timings[stage] / timings.total));
    bar.append(piece);
    const row = instantiate("stage-template");
    row.dataset.stage = stage;
    find(row, ".stage-name").textContent = t(`time.${stage}`);
    find(row, ".stage-time").textContent = `${decimal(timings[stage])} ms`;
    legend.append(row);
  }
}

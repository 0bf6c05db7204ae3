/** Fills the screen with the page, on demand; the browser's own Escape ends it. */

import { byId } from "../js/elements.js";
import { t } from "../js/i18n.js";

const button = byId("full");

/** Write on the button what it does now, in the present language. */
export function showFullScreen() {
  button.dataset.i18n = document.fullscreenElement ? "kiosk.full.leave" : "kiosk.full";
  button.textContent = t(button.dataset.i18n);
}

async function toggle() {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await document.documentElement.requestFullscreen();
  } catch {
    // The browser does not allow it here: the button would do nothing.
    button.hidden = true;
  }
}

export function offerFullScreen() {
  button.hidden = !document.fullscreenEnabled;
  button.addEventListener("click", toggle);
  document.addEventListener("fullscreenchange", showFullScreen);
}

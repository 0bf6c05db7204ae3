/** Says what happened to those who listen instead of look. */

const KEPT = 20;
const log = /** @type {HTMLElement} */ (document.getElementById("announcer"));

/** @param {string} text */
export function announce(text) {
  const line = document.createElement("p");
  line.textContent = text;
  log.append(line);
  if (log.children.length > KEPT) log.firstElementChild?.remove();
}

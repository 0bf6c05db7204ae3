/** Takes one picture in: dropped anywhere, chosen, pasted, or drawn beforehand. */

import { offerSamples } from "../js/samples.js";

/** @param {boolean} over Whether a file is held over the window. */
const showDrag = (over) => document.body.classList.toggle("dragging", over);

/** @param {(file: File) => void} take */
function listenToButtons(take) {
  const chooser = /** @type {HTMLInputElement} */ (document.getElementById("chooser"));
  document.getElementById("drop")?.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    const file = chooser.files?.[0];
    // Cleared, so that choosing the same file again is a change again.
    chooser.value = "";
    if (file) take(file);
  });
  offerSamples(([file]) => file && take(file));
}

/**
 * @param {(file: File) => void} take Called with a file; of several, with the first.
 * @param {(key: string) => void} refuse Called with the text key that says why nothing came.
 */
export function listen(take, refuse) {
  /** @param {DataTransfer | null} data @param {string} key Why there may be no file. */
  const takeOrRefuse = (data, key) => {
    const file = data?.files[0];
    if (file) take(file);
    else refuse(key);
  };
  listenToButtons(take);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    showDrag(event.dataTransfer?.types.includes("Files") ?? false);
  });
  addEventListener("dragleave", (event) => {
    // A null target means that the pointer has left the window, not one element for the next.
    if (event.relatedTarget === null) showDrag(false);
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    showDrag(false);
    takeOrRefuse(event.dataTransfer, "drop.no_file");
  });
  addEventListener("paste", (event) => takeOrRefuse(event.clipboardData, "paste.no_picture"));
}

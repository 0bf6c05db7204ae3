/** Takes pictures in: dropped anywhere, chosen with a button, or pasted. */

import { byId } from "./elements.js";
import { droppedFiles, picturesOf } from "./folder.js";

/** @param {boolean} over Whether a file is held over the window. */
const showDrag = (over) => document.body.classList.toggle("dragging", over);

/**
 * @param {string} button
 * @param {string} chooser The file field that the button opens.
 * @param {(files: File[]) => void} take
 */
function listenToChooser(button, chooser, take) {
  const field = /** @type {HTMLInputElement} */ (byId(chooser));
  byId(button).addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    const files = [...(field.files ?? [])];
    // Cleared, so that choosing the same file again is a change again.
    field.value = "";
    if (files.length) take(files);
  });
}

/**
 * @param {(files: File[]) => void} take Called with one file or more, in order.
 * @param {(key: string) => void} refuse Called with the text key that says why nothing came.
 */
export function listen(take, refuse) {
  /** @param {File[]} files @param {string} key Why there may be none. */
  const takeOrRefuse = (files, key) => (files.length ? take(files) : refuse(key));

  addEventListener("dragover", (event) => {
    event.preventDefault();
    showDrag(event.dataTransfer?.types.includes("Files") ?? false);
  });
  addEventListener("dragleave", (event) => {
    // A null target means that the pointer has left the window, not one element for the next.
    if (event.relatedTarget === null) showDrag(false);
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    showDrag(false);
    const data = event.dataTransfer;
    const hasFiles = data?.types.includes("Files");
    takeOrRefuse(data ? await droppedFiles(data) : [], hasFiles ? "drop.no_picture" : "drop.no_file");
  });

  listenToChooser("drop", "chooser", take);
  listenToChooser("folder", "folder-chooser", (files) => takeOrRefuse(picturesOf(files), "drop.no_picture"));

  addEventListener("paste", (event) => {
    takeOrRefuse([...(event.clipboardData?.files ?? [])], "paste.no_picture");
  });
}

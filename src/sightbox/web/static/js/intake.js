/** Takes pictures in: dropped anywhere, chosen with the button, or pasted. */

/** @param {boolean} over Whether a file is held over the window. */
const showDrag = (over) => document.body.classList.toggle("dragging", over);

/**
 * @param {(files: File[]) => void} take Called with one file or more, in order.
 * @param {(key: string) => void} refuse Called with the text key that says why nothing came.
 */
export function listen(take, refuse) {
  const chooser = /** @type {HTMLInputElement} */ (document.getElementById("chooser"));

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
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) take(files);
    else refuse("drop.no_file");
  });

  document.getElementById("drop")?.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    const files = [...(chooser.files ?? [])];
    // Cleared, so that choosing the same file again is a change again.
    chooser.value = "";
    if (files.length) take(files);
  });

  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
    else refuse("paste.no_picture");
  });
}

/** Shows a file as the browser sees it, before there is any answer. */

import { find } from "./elements.js";

/**
 * @param {HTMLElement} root Holds an `img`, and the `.no-preview` that stands for it otherwise.
 * @param {File} file
 * @param {(width: number, height: number) => void} [showSize] Told when the browser knows it, in pixels.
 * @returns {() => void} Frees the preview.
 */
export function showPreview(root, file, showSize = () => {}) {
  const image = /** @type {HTMLImageElement} */ (find(root, "img"));
  const address = URL.createObjectURL(file);
  image.addEventListener("load", () => showSize(image.naturalWidth, image.naturalHeight));
  image.addEventListener("error", () => {
    image.hidden = true;
    find(root, ".no-preview").hidden = false;
  });
  image.src = address;
  return () => URL.revokeObjectURL(address);
}

/** The drawings for those who have no photo at hand. */

/** Their longer side in pixels, as a photo of the web has it. */
const WIDTH = 640;

/**
 * The box takes no SVG, so the browser makes pixels of it.
 * @param {HTMLImageElement} drawing
 * @param {string} name
 * @returns {Promise<File>}
 */
async function toFile(drawing, name) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = Math.round((WIDTH * drawing.naturalHeight) / drawing.naturalWidth);
  canvas.getContext("2d")?.drawImage(drawing, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], `${name}.png`, { type: "image/png" });
}

/** @param {(files: File[]) => void} take */
export function offerSamples(take) {
  for (const button of document.querySelectorAll("[data-sample]")) {
    const drawing = /** @type {HTMLImageElement} */ (button.querySelector("img"));
    button.addEventListener("click", async () => {
      await drawing.decode();
      take([await toFile(drawing, button.getAttribute("data-sample") ?? "")]);
    });
  }
}

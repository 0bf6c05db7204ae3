/** What if the picture were different? A view to change it in, and to see what becomes of the answer. */

import { byId } from "../js/elements.js";
import { translate } from "../js/i18n.js";
import { brush } from "./brush.js";
import { crop, cropper, resize } from "./cropper.js";
import { adjust } from "./edits.js";
import { loadPicture } from "./painter.js";
import { begin, change, end, onChanges, operations, reset, rest, retry, takeBack } from "./session.js";
import { listenTo } from "./stage.js";
import { brushSize, canvas, cropSize, dialog, shareOf, showFresh, showPlace, showTool, sliders, tool } from "./view.js";

/** @typedef {import("./edits.js").Adjustment} Adjustment */

const toolInUse = () => (tool() === "crop" ? cropper : brush);

function showMarks() {
  brush.show();
  cropper.show();
}

/** @param {HTMLInputElement} slider */
function adjustBy(slider) {
  const kind = /** @type {Adjustment["kind"]} */ (slider.name);
  const value = kind === "brightness" ? shareOf(slider) : Number(slider.value);
  change(adjust(operations(), { kind, value }), true);
}

/** @param {KeyboardEvent} event */
function undoByKey(event) {
  if (event.key !== "z" || event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  takeBack();
}

/** @type {[string, () => void][]} */
const BUTTONS = [
  ["whatif-crop", crop],
  ["whatif-undo", takeBack],
  ["whatif-reset", reset],
  ["whatif-retry", retry],
  ["whatif-close", () => dialog.close()],
];

onChanges(showMarks);
listenTo(canvas, toolInUse, () => showPlace(toolInUse().place()));
for (const [id, act] of BUTTONS) byId(id).addEventListener("click", act);
for (const slider of sliders) {
  slider.addEventListener("input", () => adjustBy(slider));
  slider.addEventListener("change", rest);
}
for (const slider of [brushSize, cropSize]) slider.addEventListener("input", showTool);
brushSize.addEventListener("input", brush.show);
cropSize.addEventListener("input", () => resize(shareOf(cropSize)));
dialog.addEventListener("change", showTool);
dialog.addEventListener("keydown", undoByKey);
dialog.addEventListener("close", end);

/**
 * Open the view for a picture.
 * @param {import("../js/card.js").Item} item
 * @throws {import("../js/api.js").ApiError} `unreadable_file`: nothing was opened.
 */
export async function openWhatIf(item) {
  const picture = await loadPicture(item.file);
  translate(dialog);
  showFresh(item.name);
  begin(item, picture);
  dialog.showModal();
  canvas.focus();
}

/** Hands what a pointer and keys do over the picture to the tool in use. */

/** @typedef {import("./tools.js").Tool} Tool */
/** @typedef {import("./edits.js").Point} Point */

/** @type {Record<string, Point>} */
const ARROWS = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};

/**
 * @param {HTMLCanvasElement} canvas
 * @param {() => Tool} tool
 * @param {() => void} moved Called after keys have moved the tool's mark.
 */
export function listenTo(canvas, tool, moved) {
  let down = false;

  /** @param {PointerEvent} event @returns {Point} In the frame, whose pixels the canvas has. */
  function pointOf(event) {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * canvas.width) / box.width,
      y: ((event.clientY - box.top) * canvas.height) / box.height,
    };
  }

  function release() {
    if (down) tool().up();
    down = false;
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    canvas.setPointerCapture(event.pointerId);
    down = true;
    tool().down(pointOf(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.isPrimary) return;
    if (down) tool().move(pointOf(event));
    else tool().hover(pointOf(event));
  });
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = ARROWS[event.key];
    if (step) tool().arrow(step, event.shiftKey);
    else if (event.key === " " || event.key === "Enter") tool().act();
    else return;
    event.preventDefault();
    moved();
  });
}

/** Carries a recipe out on a picture. */

import { ApiError } from "../js/api.js";
import { LOSSLESS } from "./edits.js";
import { frameOf } from "./frame.js";

/** @typedef {import("./edits.js").Recipe} Recipe */
/** @typedef {import("./edits.js").Stroke} Stroke */

/** The longer side of what is worked on, in pixels: the networks see fewer, and drawing stays quick. */
const LONGEST = 1024;
/** Middle grey says least: it is near the mean of the pictures that networks learn from. */
const GREY = "rgb(128 128 128)";
/** A blur keeps so many pixels along the longer side: a place's colour stays, its shapes go. */
const BLURRED = 24;

/** @param {number} width @param {number} height @returns {HTMLCanvasElement} */
function createCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D} One whose pixels are read often, so they stay out of a GPU.
 */
function contextOf(canvas) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new ApiError("unknown", "The browser gives no canvas.");
  context.imageSmoothingQuality = "high";
  return context;
}

/**
 * Decode a picture as the box does: upright, its numbers as they are stored, over white.
 * @param {Blob} file
 * @returns {Promise<HTMLCanvasElement>} Its longer side has `LONGEST` pixels at most.
 * @throws {ApiError} `unreadable_file` when the browser cannot.
 */
export async function loadPicture(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
    throw new ApiError("unreadable_file");
  });
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = createCanvas(width ?? 1, height ?? 1);
  const context = contextOf(canvas);
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}

/** @param {HTMLCanvasElement} canvas @param {number} factor What each value is multiplied by. */
function brighten(canvas, factor) {
  const context = contextOf(canvas);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  // The array rounds, and stops at 255.
  for (let place = 0; place < image.data.length; place += 1) {
    if (place % 4 !== 3) image.data[place] = (image.data[place] ?? 0) * factor;
  }
  context.putImageData(image, 0, 0);
}

/** @param {HTMLCanvasElement} canvas @returns {HTMLCanvasElement} A blurred copy. */
function blur(canvas) {
  const scale = Math.min(1, BLURRED / Math.max(canvas.width, canvas.height));
  const small = createCanvas(Math.max(1, Math.round(canvas.width * scale)), Math.max(1, Math.round(canvas.height * scale)));
  contextOf(small).drawImage(canvas, 0, 0, small.width, small.height);
  const blurred = createCanvas(canvas.width, canvas.height);
  contextOf(blurred).drawImage(small, 0, 0, canvas.width, canvas.height);
  return blurred;
}

/** @param {CanvasRenderingContext2D} context @param {Stroke} stroke */
function trace(context, { size, points }) {
  const [first] = points;
  if (!first) return;
  context.fillStyle = context.strokeStyle = GREY;
  context.lineWidth = size;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  // A line without a length leaves nothing in some browsers.
  context.arc(first.x, first.y, size / 2, 0, 2 * Math.PI);
  context.fill();
  context.beginPath();
  context.moveTo(first.x, first.y);
  for (const { x, y } of points) context.lineTo(x, y);
  context.stroke();
}

/** @param {HTMLCanvasElement} canvas @param {Stroke} stroke */
function applyStroke(canvas, stroke) {
  const context = contextOf(canvas);
  if (stroke.paint === "grey") {
    trace(context, stroke);
    return;
  }
  const layer = createCanvas(canvas.width, canvas.height);
  const layerContext = contextOf(layer);
  trace(layerContext, stroke);
  layerContext.globalCompositeOperation = "source-in";
  layerContext.drawImage(blur(canvas), 0, 0);
  context.drawImage(layer, 0, 0);
}

/** @param {HTMLCanvasElement} canvas @returns {HTMLCanvasElement} */
function copyOf(canvas) {
  const copy = createCanvas(canvas.width, canvas.height);
  contextOf(copy).drawImage(canvas, 0, 0);
  return copy;
}

/**
 * @param {HTMLCanvasElement} picture
 * @returns {(recipe: Recipe, canvas: HTMLCanvasElement) => void} Draws all but the JPEG onto a
 *   canvas, and gives it its size.
 */
export function createPainter(picture) {
  // What lies under the latest stroke, so that a brush that moves costs one stroke and not all.
  let [ground, brightness] = [picture, 1];
  /** @type {readonly Stroke[]} */
  let settled = [];

  /** @param {Recipe} recipe */
  function settle(recipe) {
    const below = recipe.strokes.slice(0, -1);
    const known = brightness === recipe.brightness && settled.every((one, place) => one === below[place]);
    if (!known) {
      [ground, brightness, settled] = [picture, recipe.brightness, []];
      if (brightness !== 1) brighten((ground = copyOf(picture)), brightness);
    }
    const more = below.slice(settled.length);
    if (more.length && ground === picture) ground = copyOf(picture);
    for (const stroke of more) applyStroke(ground, stroke);
    settled = below;
  }

  return (recipe, canvas) => {
    settle(recipe);
    const latest = recipe.strokes.at(-1);
    const painted = latest ? copyOf(ground) : ground;
    if (latest) applyStroke(painted, latest);
    const { centre, width, height, angle } = frameOf(recipe, picture);
    Object.assign(canvas, { width, height });
    const context = contextOf(canvas);
    context.fillStyle = GREY;
    context.fillRect(0, 0, width, height);
    context.translate(width / 2, height / 2);
    context.rotate(angle);
    context.translate(-centre.x, -centre.y);
    context.drawImage(painted, 0, 0);
    context.resetTransform();
  };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} quality Of JPEG; `LOSSLESS` for PNG.
 * @returns {Promise<Blob>}
 */
export function encode(canvas, quality) {
  const type = quality === LOSSLESS ? "image/png" : "image/jpeg";
  return new Promise((resolve, reject) => {
    const done = (/** @type {Blob | null} */ blob) =>
      blob ? resolve(blob) : reject(new ApiError("unknown", "The browser cannot encode the picture."));
    canvas.toBlob(done, type, quality / 100);
  });
}

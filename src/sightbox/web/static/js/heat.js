/** Paints the evidence for a class, with the colours that `sightbox classify --explain` has. */

/** @typedef {import("./api.js").Region} Region */

const COLD = /** @type {const} */ ([255, 221, 51]);
const HOT = /** @type {const} */ ([214, 26, 26]);
const CHANNELS = /** @type {const} */ ([0, 1, 2]);
/** Brightness of what the network did not see, beside that of what it saw. */
const UNSEEN = 0.45;
/** The longest side of a painting: more would cost time that nobody sees. */
const MOST_PIXELS = 640;

/** Keys, "Cubic convolution interpolation" (1981), with a = -0.5, as Pillow has it. @param {number} x */
function cubic(x) {
  const far = Math.abs(x);
  if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? ((-0.5 * far + 2.5) * far - 4) * far + 2 : 0;
}

/**
 * @param {number} from Values along one side.
 * @param {number} to Values along the same side after enlarging.
 * @returns {{first: number, weights: number[]}[]} What each new value is a sum of.
 */
function tapsOf(from, to) {
  const scale = from / to;
  const wide = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - 2 * wide + 0.5));
    const end = Math.min(from, Math.floor(centre + 2 * wide + 0.5));
    const weights = Array.from({ length: end - first }, (__, tap) => cubic((first + tap - centre + 0.5) / wide));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/**
 * Enlarge a map with bicubic interpolation.
 * @param {number[][]} values Rows, top to bottom.
 * @param {number} width
 * @param {number} height
 * @returns {Float32Array} Row by row.
 */
function enlarge(values, width, height) {
  const across = tapsOf(values[0]?.length ?? 0, width);
  const down = tapsOf(values.length, height);
  const wide = values.map((row) =>
    across.map(({ first, weights }) => weights.reduce((sum, weight, tap) => sum + weight * (row[first + tap] ?? 0), 0)));
  const large = new Float32Array(width * height);
  down.forEach(({ first, weights }, y) => {
    weights.forEach((weight, tap) => {
      wide[first + tap]?.forEach((value, x) => {
        const place = y * width + x;
        large[place] = (large[place] ?? 0) + weight * value;
      });
    });
  });
  return large;
}

/** @param {number[][]} values @returns {number[][]} What speaks for the class, the most of it being 1. */
export function evidenceOf(values) {
  const most = Math.max(...values.flat(), 0);
  return values.map((row) => row.map((value) => (most ? Math.max(value, 0) / most : 0)));
}

/**
 * @typedef {object} Heat How strong the evidence is over a picture.
 * @property {number} width
 * @property {number} height
 * @property {(x: number, y: number) => number} at 0 to 1; negative where the network did not look.
 */

/**
 * Spread the map of a class over a picture.
 * @param {number[][]} values The map, rows from the top.
 * @param {Region} region What it covers of the picture.
 * @param {{width: number, height: number}} picture In pixels.
 * @returns {Heat}
 */
export function spread(values, region, picture) {
  const scale = Math.min(1, MOST_PIXELS / Math.max(picture.width, picture.height));
  const [left, top] = [Math.round(region.left * scale), Math.round(region.top * scale)];
  const width = Math.max(1, Math.round((region.left + region.width) * scale) - left);
  const height = Math.max(1, Math.round((region.top + region.height) * scale) - top);
  const strengths = enlarge(evidenceOf(values), width, height);
  return {
    width: Math.max(1, Math.round(picture.width * scale)),
    height: Math.max(1, Math.round(picture.height * scale)),
    at(x, y) {
      const [column, row] = [x - left, y - top];
      if (column < 0 || row < 0 || column >= width || row >= height) return -1;
      return Math.min(Math.max(strengths[row * width + column] ?? 0, 0), 1);
    },
  };
}

/**
 * @param {HTMLCanvasElement} canvas Lies over the picture.
 * @param {Heat} heat
 * @param {number} opacity How much the strongest evidence covers, 0 to 1.
 * @param {number} threshold Weaker evidence is not painted, 0 to 1.
 */
export function paint(canvas, heat, opacity, threshold) {
  canvas.width = heat.width;
  canvas.height = heat.height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(heat.width, heat.height);
  for (let y = 0, place = 0; y < heat.height; y += 1) {
    for (let x = 0; x < heat.width; x += 1, place += 4) {
      const strength = heat.at(x, y);
      if (strength < 0) {
        image.data[place + 3] = Math.round(255 * (1 - UNSEEN));
      } else if (strength >= threshold) {
        for (const channel of CHANNELS) {
          image.data[place + channel] = COLD[channel] * (1 - strength) + HOT[channel] * strength;
        }
        image.data[place + 3] = Math.round(255 * opacity * strength);
      }
    }
  }
  context.putImageData(image, 0, 0);
}

/**
 * What a person did to a picture: a list of operations, and the recipe that it comes to.
 *
 * Strokes keep their order. Of crops, turns, brightness and quality the last one counts, so that a
 * slider says what is so and moving it back undoes it. A recipe is always carried out in one order:
 * brightness, strokes, turn and crop, JPEG. Paint therefore keeps its colour, and stays where it was
 * put on the picture when the picture is turned afterwards.
 */

/** @typedef {{x: number, y: number}} Point In pixels, from the upper left corner. */
/** @typedef {"grey" | "blur"} Paint */

/**
 * @typedef {object} Stroke
 * @property {"stroke"} kind
 * @property {Paint} paint
 * @property {number} size Diameter in pixels of the picture.
 * @property {Point[]} points In the picture; one alone is a dot.
 */

/**
 * @typedef {object} Crop
 * @property {"crop"} kind
 * @property {Point} centre In the picture.
 * @property {number} width In pixels, across the picture as it was turned.
 * @property {number} height
 */

/** @typedef {{kind: "degrees" | "brightness" | "quality", value: number}} Adjustment */
/** @typedef {Stroke | Crop | Adjustment} Operation */

/**
 * @typedef {object} Recipe
 * @property {number} brightness What each value is multiplied by.
 * @property {Stroke[]} strokes
 * @property {number} degrees Clockwise.
 * @property {Crop | null} crop
 * @property {number} quality Of JPEG, 1 to 100; `LOSSLESS` for PNG.
 */

/** One more than the best quality of JPEG, so that a slider's end means "as it is". */
export const LOSSLESS = 101;

/**
 * @param {readonly Operation[]} operations
 * @param {Operation} operation
 * @param {Operation | null} [previous] An earlier form of the operation.
 * @returns {Operation[]} With the operation at the end, in the place of its earlier form if that is last.
 */
export function put(operations, operation, previous) {
  const kept = previous && operations.at(-1) === previous ? operations.slice(0, -1) : operations;
  return [...kept, operation];
}

/**
 * @param {readonly Operation[]} operations
 * @param {Adjustment} adjustment
 * @returns {Operation[]} Moves of one slider in a row count as one operation.
 */
export function adjust(operations, adjustment) {
  const last = operations.at(-1);
  return put(operations, adjustment, last?.kind === adjustment.kind ? last : null);
}

/** @param {readonly Operation[]} operations @returns {Operation[]} Without the last one. */
export const undo = (operations) => operations.slice(0, -1);

/** @param {readonly Operation[]} operations @returns {Recipe} */
export function recipeOf(operations) {
  /** @type {Recipe} */
  const recipe = { brightness: 1, strokes: [], degrees: 0, crop: null, quality: LOSSLESS };
  for (const operation of operations) {
    if (operation.kind === "stroke") recipe.strokes.push(operation);
    else if (operation.kind === "crop") recipe.crop = operation;
    else recipe[operation.kind] = operation.value;
  }
  return recipe;
}

/** @param {Recipe} recipe @returns {boolean} Whether it leaves the picture as it is. */
export const isPlain = ({ brightness, strokes, degrees, crop, quality }) =>
  brightness === 1 && !strokes.length && degrees === 0 && !crop && quality === LOSSLESS;

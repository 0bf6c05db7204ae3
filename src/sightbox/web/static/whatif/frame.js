/** Where the part of a picture lies that is looked at. */

/** @typedef {import("./edits.js").Point} Point */
/** @typedef {{width: number, height: number}} Size In pixels. */

/**
 * @typedef {object} Frame A window on the turned picture. Its own pixels count from its upper left.
 * @property {Point} centre In the picture; the picture turns about it.
 * @property {number} width
 * @property {number} height
 * @property {number} angle Clockwise, in radians.
 */

/** A smaller frame would be a slip of the hand. In pixels. */
export const LEAST_SIDE = 8;

/** @param {Frame} frame @param {Point} point In the frame. @returns {Point} In the picture. */
export function toPicture({ centre, width, height, angle }, { x, y }) {
  const [across, down] = [x - width / 2, y - height / 2];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return { x: centre.x + across * cos + down * sin, y: centre.y - across * sin + down * cos };
}

/**
 * @param {import("./edits.js").Recipe} recipe
 * @param {Size} picture
 * @returns {Frame} The crop, or all of the turned picture.
 */
export function frameOf({ crop, degrees }, picture) {
  const angle = (degrees * Math.PI) / 180;
  if (crop) return { centre: crop.centre, width: crop.width, height: crop.height, angle };
  const [cos, sin] = [Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle))];
  return {
    centre: { x: picture.width / 2, y: picture.height / 2 },
    width: Math.round(picture.width * cos + picture.height * sin),
    height: Math.round(picture.width * sin + picture.height * cos),
    angle,
  };
}

/** @param {number} value @param {number} most @returns {number} From 0 to `most`. */
export const within = (value, most) => Math.min(Math.max(value, 0), most);

/**
 * @param {Frame} frame
 * @param {Point} one A corner of the part, in the frame.
 * @param {Point} other The corner opposite.
 * @returns {import("./edits.js").Crop} The part, on whole pixels and inside the frame.
 */
export function cropBetween(frame, one, other) {
  /** @param {number} from @param {number} to @param {number} most @returns {[number, number]} */
  const side = (from, to, most) => {
    const [low, high] = [from, to].map((end) => Math.round(within(end, most))).sort((a, b) => a - b);
    const first = Math.max(0, Math.min(low ?? 0, most - LEAST_SIDE));
    return [first, Math.min(most, Math.max(high ?? 0, first + LEAST_SIDE)) - first];
  };
  const [left, width] = side(one.x, other.x, frame.width);
  const [top, height] = side(one.y, other.y, frame.height);
  const centre = toPicture(frame, { x: left + width / 2, y: top + height / 2 });
  return { kind: "crop", centre, width, height };
}

/** The two ways to answer that are compared. They stand in the address, so that a view can be shared. */

import { MOST_CLASSES, nameOf, PREPROCESSINGS, settings } from "../js/settings.js";

/** @typedef {"left" | "right"} Side */
/** @typedef {{model: string, variant: string, preprocessing: string}} Way Empty: the box's own choice. */
/** @typedef {import("../js/api.js").Model} Model */

/** @type {readonly Side[]} */
export const SIDES = Object.freeze(["left", "right"]);

/** Unlike any network; what it changes is worth seeing where there is no second one. */
const FASTER = "fast";

const asked = new URLSearchParams(location.search);

/** @param {Side} side @returns {Way} What the address says of it; what is no choice falls back. */
function parse(side) {
  const model = nameOf(asked.get(side));
  const way = asked.get(`${side}_preprocessing`) ?? "";
  return {
    model,
    variant: model && nameOf(asked.get(`${side}_variant`)),
    preprocessing: PREPROCESSINGS.includes(way) ? way : settings().preprocessing,
  };
}

/** @type {Record<Side, Way>} */
const ways = { left: parse("left"), right: parse("right") };

/** Whether the address names a way to answer; otherwise the page suggests two. */
export const areNamed = SIDES.some((side) => asked.has(side) || asked.has(`${side}_preprocessing`));

/** @param {Side} side @returns {Readonly<Way>} */
export const wayOf = (side) => ways[side];

/** @param {Side} side @param {Partial<Way>} change */
export function changeWay(side, change) {
  ways[side] = { ...ways[side], ...change };
  const { model, variant, preprocessing } = ways[side];
  const address = new URL(location.href);
  const named = { [side]: model, [`${side}_variant`]: variant, [`${side}_preprocessing`]: preprocessing };
  for (const [name, value] of Object.entries(named)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  history.replaceState(history.state, "", address);
}

/** @returns {boolean} Whether both sides are one and the same. */
export const areSame = () => JSON.stringify(ways.left) === JSON.stringify(ways.right);

/**
 * What is worth comparing first: two variants of the box's own model, else two models, else the
 * exact preparation of pictures and a faster one.
 * @param {Model[]} models
 * @param {string} own The name of the box's own model.
 * @returns {Record<Side, Partial<Way>>}
 */
export function suggest(models, own) {
  const variants = models.find(({ name }) => name === own)?.variants?.map(({ name }) => name) ?? [];
  const other = models.find(({ name, problem }) => name !== own && !problem);
  if (variants.length > 1) {
    const second = variants.includes("int8") ? "int8" : variants[1];
    return { left: { model: own, variant: variants[0] }, right: { model: own, variant: second } };
  }
  if (other) return { left: { model: own }, right: { model: other.name } };
  return { left: {}, right: { preprocessing: FASTER } };
}

/**
 * @param {Side} side
 * @returns {import("../js/settings.js").Settings} What the box is asked. More classes than are shown:
 *   the first one of the other side may come far down on this one.
 */
export const questionOf = (side) => ({
  ...settings(), ...ways[side], topK: MOST_CLASSES, minScore: 0, explain: false,
});

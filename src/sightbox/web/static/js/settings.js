/** What a person may choose. It stands in the address, so that a view can be shared. */

/**
 * @typedef {object} Settings
 * @property {number} topK How many classes are shown.
 * @property {number} minScore Least probability of a class that is shown, 0 to 1.
 * @property {string} model Empty: the box's own choice.
 * @property {string} variant Empty: the box's own choice.
 * @property {string} preprocessing
 * @property {boolean} explain Whether each answer comes with its reasons.
 */

/** The most classes that the page shows of a picture. */
export const MOST_CLASSES = 20;
export const PREPROCESSINGS = ["exact", "fast", "nearest"];

const { topK, minScore, preprocessing } = document.documentElement.dataset;

/** What the box answers when nothing is chosen. @type {Readonly<Settings>} */
const DEFAULTS = Object.freeze({
  topK: Math.min(Number(topK), MOST_CLASSES),
  minScore: Number(minScore),
  model: "",
  variant: "",
  preprocessing: preprocessing ?? "exact",
  explain: false,
});

/**
 * @param {string | null} text
 * @param {number} least
 * @param {number} most
 * @param {number} otherwise
 */
function numberWithin(text, least, most, otherwise) {
  const number = Number(text);
  return text?.trim() && number >= least && number <= most ? number : otherwise;
}

/** @param {string | null} text @returns {string} A name as models have, else nothing. */
export const nameOf = (text) => (text && /^[\w.-]{1,100}$/.test(text) ? text : "");

/** @param {URLSearchParams} asked @returns {Settings} What is no choice falls back. */
function parse(asked) {
  const count = numberWithin(asked.get("top_k"), 1, MOST_CLASSES, DEFAULTS.topK);
  const way = asked.get("preprocessing") ?? "";
  const model = nameOf(asked.get("model"));
  return {
    topK: Number.isInteger(count) ? count : DEFAULTS.topK,
    minScore: numberWithin(asked.get("min_score"), 0, 1, DEFAULTS.minScore),
    model,
    variant: model && nameOf(asked.get("variant")),
    preprocessing: PREPROCESSINGS.includes(way) ? way : DEFAULTS.preprocessing,
    explain: asked.get("explain") === "true",
  };
}

/** The names in the address and in a request. @type {[keyof Settings, string][]} */
const NAMES = [
  ["topK", "top_k"],
  ["minScore", "min_score"],
  ["model", "model"],
  ["variant", "variant"],
  ["preprocessing", "preprocessing"],
  ["explain", "explain"],
];

/** @param {Settings} settings @param {URLSearchParams} parameters Gets what is not the default. */
function write(settings, parameters) {
  for (const [key, name] of NAMES) {
    if (settings[key] === DEFAULTS[key]) parameters.delete(name);
    else parameters.set(name, String(settings[key]));
  }
}

let current = parse(new URLSearchParams(location.search));

/** @returns {Readonly<Settings>} */
export const settings = () => current;

/** @param {Partial<Settings>} change */
export function changeSettings(change) {
  current = { ...current, ...change };
  const address = new URL(location.href);
  write(current, address.searchParams);
  history.replaceState(history.state, "", address);
}

/** @param {Settings} one @param {Settings} other @returns {boolean} Whether they ask the same. */
export const sameSettings = (one, other) => NAMES.every(([key]) => one[key] === other[key]);

/** @param {Settings} chosen @returns {URLSearchParams} What a program would ask with. */
export function parametersOf(chosen) {
  const parameters = new URLSearchParams({ top_k: String(chosen.topK) });
  const others = new URLSearchParams();
  write(chosen, others);
  others.forEach((value, name) => parameters.set(name, value));
  return parameters;
}

/**
 * @param {Settings} chosen
 * @returns {string} The query of the page's own request.
 */
export function queryOf(chosen) {
  const parameters = parametersOf(chosen);
  // How sure an answer is shows in the distance to the second class, shown or not.
  parameters.set("top_k", String(Math.max(2, chosen.topK)));
  parameters.set("min_score", "0");
  parameters.set("lang", "both");
  return parameters.toString();
}

/** Shows on a card why a class was named: the evidence over the picture. */

import { announce } from "./announce.js";
import { find, instantiate } from "./elements.js";
import { paint, spread } from "./heat.js";
import { errorKey, labelOf, percent, t } from "./i18n.js";
import { whereabouts } from "./whereabouts.js";

/** @typedef {import("./api.js").Result} Result */
/** @typedef {import("./card.js").Item} Item */
/** @typedef {{panel: HTMLElement, canvas: HTMLCanvasElement, result: Result}} View */

let groups = 0;

/** @param {HTMLElement} panel @param {string} name @returns {number} A slider's position, 0 to 1. */
const slider = (panel, name) => Number(/** @type {HTMLInputElement} */ (find(panel, `.${name}`)).value) / 100;

/** @param {Result} result */
function choices(result) {
  const group = `why-${(groups += 1)}`;
  return result.predictions.map((prediction, place) => {
    const choice = instantiate("choice-template");
    const radio = /** @type {HTMLInputElement} */ (find(choice, "input"));
    radio.name = group;
    radio.value = String(place);
    radio.checked = place === 0;
    find(choice, "span").textContent = labelOf(prediction);
    return choice;
  });
}

/** @param {View} view Paints the class that is chosen, and says where its evidence is. */
function draw({ panel, canvas, result }) {
  const chosen = /** @type {HTMLInputElement | null} */ (panel.querySelector("input:checked"));
  const place = Number(chosen?.value ?? 0);
  const [prediction, map] = [result.predictions[place], result.explanation?.maps[place]];
  if (!prediction || !map || !result.explanation) return;
  const { region } = result.explanation;
  const label = labelOf(prediction);
  const text = t(whereabouts(map.values, region, result.image), { label });
  paint(canvas, spread(map.values, region, result.image), slider(panel, "opacity"), slider(panel, "threshold"));
  canvas.setAttribute("aria-label", text);
  find(panel, ".where").textContent = text;
  for (const name of ["opacity", "threshold"]) {
    find(panel, `.${name}-value`).textContent = percent(slider(panel, name), 0);
  }
}

/**
 * @param {Result} result With its explanation.
 * @param {HTMLElement} root The card.
 * @returns {View}
 */
function createView(result, root) {
  const panel = instantiate("why-template");
  const canvas = document.createElement("canvas");
  const view = { panel, canvas, result };
  canvas.className = "heat";
  canvas.setAttribute("role", "img");
  find(panel, ".choices").append(...choices(result));
  panel.addEventListener("input", () => draw(view));
  find(root, ".preview").append(canvas);
  find(root, ".tools").after(panel);
  return view;
}

/** @param {View} view Writes it in the present language; the class that was chosen stays chosen. */
function rewrite(view) {
  const { panel, result } = view;
  const place = find(panel, "input:checked").getAttribute("value");
  find(panel, ".choices").replaceChildren(...choices(result));
  /** @type {HTMLInputElement} */ (find(panel, `input[value="${place}"]`)).checked = true;
  draw(view);
}

/**
 * @param {Item} item
 * @param {HTMLElement} root The item's card.
 * @param {() => Promise<Result>} explain Asks the box; rejects with an `ApiError`.
 * @returns {{show: () => void}} Follows the item's state and the language.
 */
export function createWhy(item, root, explain) {
  const button = /** @type {HTMLButtonElement} */ (find(root, ".why"));
  /** @type {View | null} */
  let view = null;
  /** The answer that the view belongs to, or that it was closed for. @type {Result | undefined} */
  let seen;

  function close() {
    view?.panel.remove();
    view?.canvas.remove();
    view = null;
    button.setAttribute("aria-expanded", "false");
  }

  function open() {
    const { result } = item;
    if (!result?.explanation || !result.predictions.length) return;
    view = createView(result, root);
    button.setAttribute("aria-expanded", "true");
    draw(view);
  }

  async function toggle() {
    if (view) {
      close();
      return;
    }
    tell("");
    button.setAttribute("aria-busy", "true");
    try {
      if (!item.result?.explanation) seen = item.result = await explain();
      open();
    } catch (error) {
      tell(t(errorKey(/** @type {import("./api.js").ApiError} */ (error).code)));
    }
    button.removeAttribute("aria-busy");
  }

  /** @param {string} problem Why there is no explanation. */
  function tell(problem) {
    find(root, ".why-problem").textContent = problem;
    if (problem) announce(problem);
  }

  function show() {
    button.setAttribute("aria-label", t("why.of", { name: item.name }));
    const fresh = item.state === "done" && item.result !== seen;
    const stale = view !== null && (item.state !== "done" || fresh);
    if (stale) close();
    if (fresh) {
      seen = item.result;
      if (item.asked.explain) open();
    } else if (view) {
      rewrite(view);
    }
  }

  button.addEventListener("click", toggle);
  return { show };
}

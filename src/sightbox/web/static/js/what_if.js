/** The way from a card to the view that asks what if: most visits never need it, so it is fetched then. */

import { announce } from "./announce.js";
import { ApiError } from "./api.js";
import { loadDocument } from "./documents.js";
import { find } from "./elements.js";
import { addTexts, errorKey, t } from "./i18n.js";

const SHEET = new URL("../whatif/whatif.css", import.meta.url).href;
const ELEMENTS = new URL("../whatif/dialog.html", import.meta.url).href;

/** @returns {Promise<void>} */
async function addSheet() {
  // An attempt that failed elsewhere may have brought it.
  if (document.head.querySelector(`link[href="${SHEET}"]`)) return;
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: SHEET });
  await /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
    link.addEventListener("load", () => resolve());
    link.addEventListener("error", () => {
      link.remove();
      reject(new ApiError("network"));
    });
    document.head.append(link);
  }));
}

async function add() {
  const texts = addTexts("../i18n/whatif/").catch(() => {
    throw new ApiError("network");
  });
  const [elements] = await Promise.all([loadDocument(ELEMENTS), addSheet(), texts]);
  document.body.append(...elements.body.children);
}

/** @type {Promise<void> | null} */
let adding = null;

/**
 * Have the dialog and its templates in the page, with their texts and their sheet. The modules find
 * them there; and they are fetched after them, since a module that failed once fails for good.
 * @returns {Promise<void>} Rejects with an `ApiError` where the server is gone; try again later.
 */
function addParts() {
  adding ??= add().catch((error) => {
    adding = null;
    throw error;
  });
  return adding;
}

/**
 * @param {import("./card.js").Item} item
 * @param {HTMLElement} root The item's card.
 */
export function offerWhatIf(item, root) {
  const button = find(root, ".what-if");
  // What a browser cannot show, nobody can paint on.
  find(root, "img").addEventListener("error", () => (button.hidden = true));

  /** @param {string} problem Why the view does not open. */
  function tell(problem) {
    find(root, ".why-problem").textContent = problem;
    if (problem) announce(problem);
  }

  button.addEventListener("click", async () => {
    if (button.hasAttribute("aria-busy")) return;
    tell("");
    button.setAttribute("aria-busy", "true");
    try {
      await addParts();
      const { openWhatIf } = await import("../whatif/main.js");
      await openWhatIf(item);
    } catch (error) {
      // A module that does not come is a TypeError.
      const code = error instanceof TypeError ? "network" : /** @type {import("./api.js").ApiError} */ (error).code;
      tell(t(errorKey(code)));
    }
    button.removeAttribute("aria-busy");
  });
}

/** Texts and numbers in the reader's language. */

/** @typedef {"en" | "zh"} Language */
/** @typedef {Record<string, string | number>} Values */

const STORE = "sightbox.lang";
const root = document.documentElement;

/** @type {Record<string, string>} */
let catalogue = {};

/** The largest upload, in MB; the server writes it into the page. */
export const maxBodyMb = Number(root.dataset.maxBodyMb);

/** @returns {Language} The language that the page shows now. */
export const language = () => /** @type {Language} */ (root.dataset.language);

/** @returns {Language} The language that comes second beside each label. */
export const otherLanguage = () => (language() === "zh" ? "en" : "zh");

/** @param {Language} code @returns {string} The tag for a `lang` attribute. */
export const languageTag = (code) => (code === "zh" ? "zh-Hans" : "en");

/**
 * The text of a key, its `{placeholders}` filled.
 * @param {string} key
 * @param {Values} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const known = /** @type {Values} */ ({ mb: maxBodyMb, ...values });
  return (catalogue[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(known[name] ?? whole));
}

/** @param {string} [code] @returns {string} The key of an error's words. */
export const errorKey = (code) => (`error.${code}` in catalogue ? `error.${code}` : "error.unknown");

/**
 * The name of a class; a model with names in one language alone still says them.
 * @param {{label: Record<string, string>}} prediction
 * @param {string} [code]
 * @returns {string}
 */
export const labelOf = ({ label }, code = language()) => label[code] ?? Object.values(label)[0] ?? "";

/** @param {number} number @returns {string} The number with one decimal. */
export function decimal(number) {
  return number.toLocaleString(language(), { minimumFractionDigits: 1, maximumFractionDigits: 1 });
}

/** @param {number} share 0 to 1 @param {number} [places] Decimals. @returns {string} Percent. */
export function percent(share, places = 1) {
  const digits = { style: "percent", minimumFractionDigits: places, maximumFractionDigits: places };
  return share.toLocaleString(language(), /** @type {Intl.NumberFormatOptions} */ (digits));
}

/**
 * Write the texts of every marked element below a node.
 * @param {ParentNode} node
 */
export function translate(node) {
  for (const element of node.querySelectorAll("[data-i18n]")) {
    element.textContent = t(element.getAttribute("data-i18n") ?? "");
  }
  for (const element of node.querySelectorAll("[data-i18n-label]")) {
    element.setAttribute("aria-label", t(element.getAttribute("data-i18n-label") ?? ""));
  }
}

/** Where the texts are; a page may name one more place, of texts that it alone has. */
const PLACES = ["../i18n/", root.dataset.texts ?? ""].filter(Boolean);

/** @param {string} place @param {Language} code @returns {Promise<Record<string, string>>} */
async function fetchTexts(place, code) {
  const response = await fetch(new URL(`${place}${code}.json`, import.meta.url));
  if (!response.ok) throw new TypeError(`no catalogue for ${code}`);
  return response.json();
}

/** @param {Language} code */
async function load(code) {
  catalogue = Object.assign({}, ...await Promise.all(PLACES.map((place) => fetchTexts(place, code))));
}

/**
 * Have the texts of one more place, from now on in every language.
 * @param {string} place Relative to this module.
 */
export async function addTexts(place) {
  if (PLACES.includes(place)) return;
  Object.assign(catalogue, await fetchTexts(place, language()));
  PLACES.push(place);
}

/**
 * Show the page in another language; everything on it stays.
 * @param {Language} code
 */
export async function switchLanguage(code) {
  await load(code);
  root.dataset.language = code;
  root.lang = languageTag(code);
  translate(document);
  for (const link of document.querySelectorAll(".languages a[data-language]")) {
    if (link.getAttribute("data-language") === code) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  for (const link of document.querySelectorAll("[data-i18n-address]")) {
    link.setAttribute("href", `${link.getAttribute("data-i18n-address")}?lang=${code}`);
  }
}

/** @param {Language} code Keep the choice in the address, and for the next visit. */
export function rememberLanguage(code) {
  const address = new URL(location.href);
  address.searchParams.set("lang", code);
  history.replaceState(null, "", address);
  try {
    localStorage.setItem(STORE, code);
  } catch {
    // A browser that forbids storage still has the address.
  }
}

/** Load the page's catalogue, or the one remembered where the address asks for none. */
export async function startLanguage() {
  let stored = null;
  try {
    stored = localStorage.getItem(STORE);
  } catch {
    // No storage: the server's choice stands.
  }
  const asked = new URLSearchParams(location.search).has("lang");
  if (!asked && (stored === "en" || stored === "zh") && stored !== language()) {
    await switchLanguage(stored);
  } else {
    await load(language());
  }
}

/**
 * Let the links of the languages change the page where it is, instead of loading it anew.
 * @param {(code: Language) => void} changed Called when the page's texts are there.
 * @param {() => void} failed Called when they could not be fetched.
 */
export function listenToLanguages(changed, failed) {
  /** @param {Event} event */
  async function change(event) {
    const link = /** @type {HTMLElement} */ (event.currentTarget);
    const code = /** @type {Language} */ (link.dataset.language);
    event.preventDefault();
    try {
      await switchLanguage(code);
    } catch {
      failed();
      return;
    }
    changed(code);
  }
  for (const link of document.querySelectorAll(".languages a")) link.addEventListener("click", change);
}

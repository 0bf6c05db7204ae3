/** Says in the page's own words that the box is off, where a browser would show an error of its own.
 *
 * It keeps that page and its files, and nothing else: all other requests are the browser's. */

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const CACHES = "sightbox ";
/** One for each state of the page's files: the address of this script holds their version. */
const CACHE = CACHES + worker.location.pathname;
const PAGE = new URL("offline", worker.registration.scope).href;
const FILES = ["css/theme.css", "css/page.css", "icon.svg"].map((name) => new URL(name, worker.location.href).href);

async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll([PAGE, ...FILES]);
  // Nothing depends on an older one, so that this one need not wait until all pages are closed.
  await worker.skipWaiting();
}

async function activate() {
  const outdated = (await caches.keys()).filter((name) => name.startsWith(CACHES) && name !== CACHE);
  await Promise.all(outdated.map((name) => caches.delete(name)));
  // The browser asks for a page at once, instead of waiting until this script runs.
  await worker.registration.navigationPreload?.enable();
}

/** @param {string} address @returns {Promise<Response>} What was kept, in whichever language it came. */
const kept = async (address) => (await caches.match(address, { ignoreVary: true })) ?? Response.error();

/** @param {FetchEvent} event @returns {Promise<Response>} */
async function open({ request, preloadResponse }) {
  try {
    return (await preloadResponse) ?? (await fetch(request));
  } catch {
    // No answer at all: the box is off. An answer that refuses comes through as it is.
    return kept(PAGE);
  }
}

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));
worker.addEventListener("fetch", (event) => {
  if (event.request.mode === "navigate") event.respondWith(open(event));
  else if (FILES.includes(event.request.url)) event.respondWith(kept(event.request.url));
});

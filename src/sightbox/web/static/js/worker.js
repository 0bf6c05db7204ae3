/** Starts the script that has words of its own for the time when the box is off. */

/** Browsers allow it on this machine and over TLS, and nowhere else; the page does without. */
export async function startWorker() {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register(new URL("../service-worker.js", import.meta.url), { scope: "./" });
  } catch {
    // A browser may forbid it in a private window: it shows its own error then.
  }
}

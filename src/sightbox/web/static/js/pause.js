/** Waits. */

/**
 * @param {number} seconds
 * @param {AbortSignal} [signal] Ends the wait early.
 * @returns {Promise<void>}
 */
export function pauseFor(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

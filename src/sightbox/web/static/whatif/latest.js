/** Works on the latest of many wishes, one at a time: those that were overtaken are never begun. */

/**
 * @template Wish
 * @typedef {object} Latest
 * @property {(wish: Wish, urgent?: boolean) => void} want Work on this next. What is under way goes
 *   on, so that something is seen while a hand moves; where it is urgent, it is given up.
 * @property {() => void} hurry Give up what is under way if something newer waits.
 * @property {() => void} stop Give up what is under way and what waits.
 * @property {() => boolean} idle
 */

/**
 * @template Wish, Outcome
 * @param {(wish: Wish, signal: AbortSignal) => Promise<Outcome>} work
 * @param {(outcome: Outcome, wish: Wish) => void} done Not called for work that was given up.
 * @param {(error: unknown) => void} failed Likewise.
 * @returns {Latest<Wish>}
 */
export function createLatest(work, done, failed) {
  /** @type {{wish: Wish} | null} */
  let next = null;
  /** @type {AbortController | null} */
  let running = null;
  let working = false;

  /** @param {Wish} wish @param {AbortSignal} signal @returns {Promise<() => void>} What to tell. */
  const attempt = (wish, signal) => work(wish, signal).then(
    (outcome) => () => done(outcome, wish),
    (error) => () => failed(error),
  );

  async function run() {
    while (next) {
      const { wish } = next;
      next = null;
      running = new AbortController();
      const { signal } = running;
      working = true;
      const tell = await attempt(wish, signal);
      working = false;
      // What is told may bring the next wish, which this loop then takes.
      if (!signal.aborted) tell();
    }
    running = null;
  }

  return {
    want(wish, urgent = false) {
      next = { wish };
      if (!running) run();
      else if (urgent) running.abort();
    },
    hurry() {
      if (next) running?.abort();
    },
    stop() {
      next = null;
      running?.abort();
    },
    idle: () => !working && !next,
  };
}

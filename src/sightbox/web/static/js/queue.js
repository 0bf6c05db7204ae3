/** Runs jobs in the order given, a few at once. */

/**
 * @param {number} limit The most jobs that run at once.
 * @returns {(job: () => Promise<void>) => void} Adds a job, which must not reject.
 */
export function createQueue(limit) {
  /** @type {(() => Promise<void>)[]} */
  const waiting = [];
  let running = 0;

  function advance() {
    while (running < limit) {
      const job = waiting.shift();
      if (!job) return;
      running += 1;
      job().finally(() => {
        running -= 1;
        advance();
      });
    }
  }

  return (job) => {
    waiting.push(job);
    advance();
  };
}

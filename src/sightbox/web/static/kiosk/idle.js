/** Notices when nobody is there any more. */

/** How long a person has to say that they are still there (WCAG 2.2, 2.2.1), in seconds. */
export const NOTICE_S = 20;

const INPUTS = ["pointerdown", "pointermove", "keydown", "wheel", "dragover", "paste"];

/**
 * Starts to count anew with each input of a person.
 * @param {number} seconds Without input until `end` is called; more than `NOTICE_S`.
 * @param {(near: boolean) => void} warn Called with true `NOTICE_S` before the end, else with false.
 * @param {() => void} end
 * @returns {() => void} Starts to count anew.
 */
export function watchIdle(seconds, warn, end) {
  let near = 0;
  let over = 0;

  function restart() {
    clearTimeout(near);
    clearTimeout(over);
    warn(false);
    near = setTimeout(warn, 1000 * (seconds - NOTICE_S), true);
    over = setTimeout(() => {
      warn(false);
      end();
    }, 1000 * seconds);
  }

  for (const input of INPUTS) addEventListener(input, restart, { capture: true, passive: true });
  return restart;
}

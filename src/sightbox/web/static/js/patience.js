/** Asks until there is an answer: a full box is asked again, a locked one when it has its token. */

import { ApiError } from "./api.js";
import { pauseFor } from "./pause.js";
import { currentToken } from "./token.js";
import { waitForToken } from "./unlock.js";

/** How often a busy box is asked before a person is. */
const ATTEMPTS = 5;

/**
 * @template Answer
 * @param {() => Promise<Answer>} ask Rejects with an `ApiError`.
 * @param {AbortSignal} signal Ends the wait.
 * @param {(state: "working" | "locked" | "busy", seconds: number) => void} tell Told what is waited
 *   for; when busy, the seconds until the box is asked again.
 * @returns {Promise<Answer | undefined>} Nothing when the signal came first.
 * @throws {ApiError}
 */
export async function askPatiently(ask, signal, tell) {
  for (let attempt = 1; !signal.aborted; ) {
    const token = currentToken();
    tell("working", 0);
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ApiError) || signal.aborted) throw error;
      if (error.code === "token_needed") {
        tell("locked", 0);
        // Another question may have brought a new token while this one was under way.
        if (token === currentToken()) await waitForToken();
      } else {
        if (!error.retryAfter || error.code === "closed" || attempt >= ATTEMPTS) throw error;
        const seconds = error.retryAfter * attempt++;
        tell("busy", seconds);
        await pauseFor(seconds, signal);
      }
    }
  }
  return undefined;
}

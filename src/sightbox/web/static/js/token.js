/** Holds the token that some boxes ask for: from the address, from this tab's store, or typed. */

const STORE = "sightbox.token";
const MARK = "#token=";

let token = "";

/** @returns {string} What requests carry; empty when there is none. */
export const currentToken = () => token;

/** @param {string} given The token from now on, also after a reload of this tab. */
export function rememberToken(given) {
  token = given;
  try {
    sessionStorage.setItem(STORE, given);
  } catch {
    // A browser that forbids storage asks again after a reload.
  }
}

/** @returns {string} The token of `…/#token=…`, which leaves the address; empty without one. */
export function takeTokenFromAddress() {
  if (!location.hash.startsWith(MARK)) return "";
  const text = location.hash.slice(MARK.length);
  history.replaceState(history.state, "", location.pathname + location.search);
  try {
    return decodeURIComponent(text);
  } catch {
    // A stray percent sign: the token was not encoded.
    return text;
  }
}

/** Find the token of this visit: the address comes before the store. */
export function startToken() {
  const given = takeTokenFromAddress();
  if (given) {
    rememberToken(given);
    return;
  }
  try {
    token = sessionStorage.getItem(STORE) ?? "";
  } catch {
    // No storage: the box asks when it must.
  }
}

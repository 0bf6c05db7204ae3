/** Sends a body and tells how far it is; `fetch` cannot tell that. */

/**
 * @param {string} path
 * @param {Blob} body
 * @param {Record<string, string>} headers
 * @param {AbortSignal} signal
 * @param {(share: number) => void} progress Told how much has been sent, 0 to 1.
 * @returns {Promise<import("./api.js").Reply | null>} Null when no answer came.
 */
export function upload(path, body, headers, signal, progress) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => progress(loaded / total));
    request.addEventListener("load", () => resolve({
      status: request.status,
      text: request.responseText,
      retryAfter: request.getResponseHeader("Retry-After"),
    }));
    for (const end of ["error", "abort", "timeout"]) request.addEventListener(end, () => resolve(null));
    const stop = () => request.abort();
    signal.addEventListener("abort", stop);
    request.addEventListener("loadend", () => signal.removeEventListener("abort", stop));
    if (signal.aborted) resolve(null);
    else request.send(body);
  });
}

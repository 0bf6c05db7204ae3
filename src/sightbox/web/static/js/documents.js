/** Fetches HTML, parsed by the browser as a page is, with no script of it run. */

import { ApiError } from "./api.js";

/**
 * @param {string} address
 * @param {Record<string, string>} [headers]
 * @returns {Promise<Document>}
 * @throws {ApiError} `network` when there is no such document, or nobody answers.
 */
export function loadDocument(address, headers = {}) {
  const request = new XMLHttpRequest();
  request.open("GET", address);
  request.responseType = "document";
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  return new Promise((resolve, reject) => {
    request.addEventListener("loadend", () => {
      if (request.status === 200 && request.responseXML) resolve(request.responseXML);
      else reject(new ApiError("network", request.status ? `HTTP ${request.status}` : ""));
    });
    request.send();
  });
}

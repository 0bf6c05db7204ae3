/** Shows why there is no answer, and whether it helps to ask again. */

import { megabytes } from "./api.js";
import { find } from "./elements.js";
import { decimal, errorKey, t } from "./i18n.js";

const RETRYABLE = [
  "queue_full", "too_many_uploads", "models_busy", "deadline_exceeded", "closed", "backend_failed",
  "network", "unknown",
];

/**
 * @param {HTMLElement} root Holds a `.problem-title` with a span, and the other parts.
 * @param {import("./api.js").ApiError} error
 * @param {File} file What was asked about.
 */
export function showProblem(root, error, file) {
  const key = errorKey(error.code);
  find(root, ".problem-title span").textContent = t(key);
  find(root, ".problem-hint").textContent = t(`${key}.hint`, { size: decimal(megabytes(file)) });
  find(root, ".problem-detail").textContent = error.detail;
  find(root, ".retry").hidden = !RETRYABLE.includes(key.replace("error.", ""));
}

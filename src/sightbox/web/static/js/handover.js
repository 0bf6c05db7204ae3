/** Hands texts over to the person: on the clipboard, or as a file. */

/** @param {string} text @returns {boolean} Whether the old way of copying worked. */
function copySelected(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  // Within a dialog nothing outside it can be selected.
  (focused?.closest("dialog") ?? document.body).append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return copied;
}

/**
 * Copy a text. A page that is neither on this machine nor served over TLS has no clipboard object.
 * @param {string} text
 * @returns {Promise<boolean>} Whether it is on the clipboard.
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

/** @param {string} name The file's name. @param {string} type Its media type. @param {string} text */
export function download(name, type, text) {
  // Spreadsheets take a CSV file for UTF-8 only when it begins with the mark.
  const parts = type === "text/csv" ? ["\ufeff", text] : [text];
  const address = URL.createObjectURL(new Blob(parts, { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The browser has taken the data by then.
  setTimeout(() => URL.revokeObjectURL(address), 0);
}

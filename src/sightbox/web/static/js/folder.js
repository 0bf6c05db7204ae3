/** Finds the pictures in folders that were dropped or chosen. */

/** Where a file lay in its folder: a dropped one does not tell by itself. @type {WeakMap<File, string>} */
const paths = new WeakMap();

const PICTURES = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?)$/i;

/** @param {File} file @returns {string} Its name, with the folders that it came with. */
export const nameOf = (file) => paths.get(file) || file.webkitRelativePath || file.name;

/** @param {string} path @returns {boolean} Whether it is hidden, as files of the system are. */
const isHidden = (path) => path.split("/").some((name) => name.startsWith("."));

const byName = new Intl.Collator(undefined, { numeric: true }).compare;

/** @param {FileSystemDirectoryEntry} folder @returns {Promise<FileSystemEntry[]>} */
async function entriesOf(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    // A reader gives a part at a time, and nothing at the end.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return found;
    found.push(...some);
  }
}

/** @param {FileSystemEntry} entry @returns {Promise<File[]>} The file, or the files below it. */
async function filesBelow(entry) {
  if (entry.isDirectory) {
    const entries = await entriesOf(/** @type {FileSystemDirectoryEntry} */ (entry));
    return (await Promise.all(entries.map(filesBelow))).flat();
  }
  const file = await new Promise((resolve) =>
    /** @type {FileSystemFileEntry} */ (entry).file(resolve, () => resolve(null)));
  if (!file) return [];
  paths.set(file, entry.fullPath.replace(/^\//, ""));
  return [file];
}

/** @param {File[]} files Those of a folder. @returns {File[]} Its pictures, by name. */
export const picturesOf = (files) =>
  files
    .filter((file) => PICTURES.test(file.name) && !isHidden(nameOf(file)))
    .sort((one, other) => byName(nameOf(one), nameOf(other)));

/**
 * Call it within the event: the data is gone afterwards.
 * @param {DataTransfer} data What was dropped.
 * @returns {Promise<File[]>} The files in their order, and the pictures of each folder in its place.
 */
export async function droppedFiles(data) {
  const groups = [...data.items].filter(({ kind }) => kind === "file").map(async (item) => {
    const file = item.getAsFile();
    const entry = item.webkitGetAsEntry();
    if (entry?.isDirectory) return picturesOf(await filesBelow(entry));
    return file ? [file] : [];
  });
  return (await Promise.all(groups)).flat();
}

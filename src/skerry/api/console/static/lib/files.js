/** Files out of a drop, a paste or a chooser; folders are walked to the end. */

const IMAGE_NAME = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|heic)$/i;
const DOCUMENT_NAME = /\.(txt|text|log|rst|md|markdown|html?|xhtml|pdf|docx)$/i;

/** What a chooser of documents offers. */
export const DOCUMENT_TYPES = ".txt,.text,.log,.rst,.md,.markdown,.htm,.html,.xhtml,.pdf,.docx";

/** By type or by name: some systems give photos no type at all. */
export const looksLikeImage = (file) => file.type.startsWith("image/") || IMAGE_NAME.test(file.name);

/** The photos among `files`, and how many other files were left out. */
export function splitImages(files) {
  const images = files.filter(looksLikeImage);
  return { images, leftOut: files.length - images.length };
}

/** The files among these that the node reads as documents, and how many others were left out. */
export function splitDocuments(files) {
  const documents = files.filter(({ name }) => DOCUMENT_NAME.test(name));
  return { documents, leftOut: files.length - documents.length };
}

/** Every file of a drop as `File`s, folders included; each carries its path in `relativePath`. */
export async function droppedFiles(transfer) {
  // Entries must be taken before the first await: the browser empties the list after the event.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    file.relativePath = entry.fullPath.replace(/^\//, "");
    return [file];
  }
  const reader = entry.createReader();
  const files = [];
  // A reader hands out at most 100 entries a call; an empty batch is the end.
  for (let batch = await read(reader); batch.length; batch = await read(reader)) {
    files.push(...(await Promise.all(batch.map(walk))).flat());
  }
  return files;
}

const read = (reader) => new Promise((resolve, reject) => reader.readEntries(resolve, reject));

/** Where a file lay in the folder that was chosen; the name alone of one that was chosen itself. */
export const pathOf = (file) => file.relativePath || file.webkitRelativePath || file.name;

/** The name of the folder a file lay in, or "". */
export const folderOf = (file) => pathOf(file).split("/").slice(-2, -1)[0] ?? "";

export const pastedFiles = (event) =>
  [...(event.clipboardData?.files ?? [])].filter(looksLikeImage);

export const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

/** The sha256 of a file in hex, or null where the page is not served securely (plain http, no loopback). */
export async function sha256(file) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

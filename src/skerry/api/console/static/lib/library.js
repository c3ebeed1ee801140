/** The stored documents, page by page, as they change. */

import { useEffect, useRef } from "../vendor/htm-preact.js";
import { api } from "../api.js";
import { useChanges } from "./changes.js";
import { usePages } from "./pages.js";

const PAGE = 50;
const RELOAD_MS = 400;

/** The documents of the category, or all; what `usePages` gives, its items as `documents`. */
export function useLibrary(category, changes) {
  const { items, ...pages } = usePages(category, async (cursor, signal) => {
    const { data } = await api.documents({ category, limit: PAGE, cursor }, signal);
    return { ...data, items: data.documents };
  });
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  useChanges(changes, (kind, document) => {
    if (kind === "deleted") pages.remove(new Set([document.id]));
    else {
      // Many files come one after the other; the list is read again once they pause.
      clearTimeout(timer.current);
      timer.current = setTimeout(pages.reload, RELOAD_MS);
    }
  }, [pages.reload]);
  return { ...pages, documents: items };
}

/** The address's hash as the page's state: `#/collection?label=tabby&image=7`. */

import { useEffect, useState } from "../vendor/htm-preact.js";

export function parseHash(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  return { view: path || "recognize", query: Object.fromEntries(new URLSearchParams(query)) };
}

export function hashOf(view, query = {}) {
  const entries = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  return `#/${view}${entries.length ? `?${new URLSearchParams(entries)}` : ""}`;
}

/** Move to another state; `replace` leaves no step in the browser's history. */
export function navigate(view, query = {}, { replace = false } = {}) {
  const hash = hashOf(view, query);
  if (hash === location.hash) return;
  if (!replace) {
    location.hash = hash;
    return;
  }
  history.replaceState(null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** Change some of the query and keep the rest; an empty value removes its name. */
export function changeQuery(changes, options) {
  const { view, query } = parseHash(location.hash);
  navigate(view, { ...query, ...changes }, options);
}

export function useRoute() {
  const [route, setRoute] = useState(() => parseHash(location.hash));
  useEffect(() => {
    const follow = () => setRoute(parseHash(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}

/** The end of a list that has a next page. */

import { html, useEffect, useRef } from "../vendor/htm-preact.js";

/** The next page when its end comes into sight; a button for those who do not scroll. */
export function More({ pages: { next, phase, loadMore } }) {
  const end = useRef(null);
  useEffect(() => {
    if (!next || phase !== "ready") return undefined;
    const observer = new IntersectionObserver(([entry]) => entry.isIntersecting && loadMore(), { rootMargin: "600px" });
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [next, phase]);
  return html`<div ref=${end} class="more">
    ${next && html`<button class="button" disabled=${phase === "more"} onClick=${loadMore}>${phase === "more" ? "Loading…" : "Show more"}</button>`}
  </div>`;
}

/** The page's icons: 24-unit line drawings that take the colour of their text. */

import { html } from "../vendor/htm-preact.js";

const PATHS = {
  photo: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
  chat: "M4 5h16v11H11l-4 4v-4H4zM8 9h8M8 12h5",
  text: "M4 6h16M4 11h16M4 16h9",
  documents: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.2 15.2L20 20",
  question: "M9 9a3 3 0 1 1 4.2 2.8c-.8.4-1.2 1-1.2 2M12 17h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  sliders: "M4 8h8M18 8h2M15 5v6M4 16h2M12 16h8M9 13v6",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  pulse: "M3 12h4l3-7 4 14 3-7h4",
  folder: "M3 6h6l2 2h10v11H3z",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  alert: "M12 4l9 16H3zM12 10v4M12 17h.01",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  tag: "M4 4h8l8 8-8 8-8-8zM8 8h.01",
  external: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  refresh: "M20 11a8 8 0 1 0-2.3 6M20 5v6h-6",
  filter: "M4 6h16M7 12h10M10 18h4",
  signOut: "M14 4h6v16h-6M10 8l-4 4 4 4M6 12h10",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  key: "M14.5 13a4.5 4.5 0 1 0-4.2-2.8L3 17.5V21h4v-2.5h2.5V16l1.9-1.9a4.5 4.5 0 0 0 3.1-1.1zM16 8h.01",
};

export function Icon({ name, size = 20 }) {
  return html`<svg class="icon" viewBox="0 0 24 24" width=${size} height=${size} aria-hidden="true">
    <path d=${PATHS[name]} />
  </svg>`;
}

/** The island: rock above the waterline. */
export function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">
    <path class="mark-rock" d="M4 20 11 11.5 14.5 14.5 19.5 6 28 20Z" />
    <path class="mark-shade" d="M19.5 6 28 20H17.6L16.6 15Z" />
    <path class="mark-water" d="M3 24.5q3.25-2.6 6.5 0t6.5 0 6.5 0 6.5 0" />
  </svg>`;
}

/** The same island, wide: the Recognize view's empty stage. */
export function Seascape() {
  return html`<svg class="seascape" viewBox="0 0 240 84" aria-hidden="true">
    <path class="sea-rock-far" d="M26 60 46 44 58 50 74 34 96 60Z" />
    <path class="sea-rock" d="M78 60 108 30 122 41 146 10 186 60Z" />
    <path class="sea-shade" d="M146 10 186 60H138L133 33Z" />
    <path class="sea-water" d="M12 66q9-6 18 0t18 0 18 0 18 0 18 0 18 0 18 0 18 0 18 0 18 0 18 0 18 0" />
    <path class="sea-water sea-water-2" d="M48 76q9-6 18 0t18 0 18 0 18 0 18 0 18 0 18 0 18 0" />
  </svg>`;
}

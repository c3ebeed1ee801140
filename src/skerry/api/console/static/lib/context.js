/** What every view may ask of the page: the session, the node's state, a voice for screen readers. */

import { createContext, useContext } from "../vendor/htm-preact.js";

const SCOPES = ["read", "infer", "write", "admin"];

export const ConsoleContext = createContext(null);
export const useConsole = () => useContext(ConsoleContext);

/** Whether a key of scope `held` may do what needs `wanted`. */
export function allows(held, wanted) {
  return SCOPES.indexOf(held) >= SCOPES.indexOf(wanted);
}

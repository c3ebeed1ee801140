/** A field whose text counts once its owner pauses. */

import { useEffect, useRef, useState } from "../vendor/htm-preact.js";

const TYPING_MS = 300;

/** `[text, onInput]` for a field that shows `value`; `tell(text)` is called after a pause. */
export function useTyped(value, tell) {
  const [text, setText] = useState(value);
  const timer = useRef(0);
  useEffect(() => setText(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);

  const onInput = (event) => {
    const typed = event.target.value;
    setText(typed);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => tell(typed.trim()), TYPING_MS);
  };
  return [text, onInput];
}

/** Dialogs on the browser's own <dialog>: focus stays inside, Escape closes, focus returns. */

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ErrorNotice } from "./notice.js";
import { Icon } from "./icons.js";

let count = 0;

/** `panel` stands at the page's side, `wide` for reading; `onClose` is called for Escape, backdrop and button. */
export function Dialog({ title, onClose, panel = false, wide = false, children }) {
  const dialog = useRef(null);
  const [titleId] = useState(() => `dialog-${(count += 1)}`);

  useEffect(() => {
    const shown = dialog.current;
    shown.showModal();
    // Closing before the page forgets the dialog is what gives the focus back to its opener.
    return () => shown.close();
  }, []);

  const onCancel = (event) => {
    event.preventDefault();
    onClose();
  };
  const onClick = (event) => event.target === dialog.current && onClose();

  return html`<dialog ref=${dialog} class=${["dialog", panel && "panel", wide && "wide"].filter(Boolean).join(" ")} aria-labelledby=${titleId}
      onCancel=${onCancel} onClick=${onClick}>
    <div class="dialog-frame">
      <div class="dialog-head">
        <h2 id=${titleId}>${title}</h2>
        <button class="icon-button" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button>
      </div>
      ${children}
    </div>
  </dialog>`;
}

/** Ask before something that can't be undone; `onConfirm` may be slow and may fail. */
export function Confirm({ title, children, action, onConfirm, onClose }) {
  const [state, setState] = useState({ busy: false, error: null });
  const confirm = async () => {
    setState({ busy: true, error: null });
    try {
      await onConfirm();
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <div class="dialog-body">
      ${children}
      ${state.error && html`<${ErrorNotice} error=${state.error} />`}
    </div>
    <footer class="dialog-foot">
      <button class="button" autofocus onClick=${onClose}>Cancel</button>
      <button class="button danger" disabled=${state.busy} onClick=${confirm}>${action}</button>
    </footer>
  </${Dialog}>`;
}

/** Sign in with a key, where the node asks for one. */

import { html, useState } from "../vendor/htm-preact.js";
import { api } from "../api.js";
import { Mark } from "../components/icons.js";
import { ErrorNotice } from "../components/notice.js";

export function SignInView({ onSignedIn }) {
  const [key, setKey] = useState("");
  const [state, setState] = useState({ busy: false, error: null });

  const signIn = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    try {
      await api.signIn(key.trim());
      await onSignedIn();
    } catch (error) {
      setState({ busy: false, error });
    }
  };

  return html`<form class="card signin" onSubmit=${signIn}>
    <${Mark} />
    <h1 class="view-title">Sign in to this node</h1>
    <p class="faint">It asks for a key. Whoever runs the node makes one with <code>skerry keys create</code>.</p>
    <label class="field"><span class="field-name">Key</span>
      <input type="password" name="key" value=${key} autocomplete="current-password" autofocus required spellcheck="false"
        aria-invalid=${Boolean(state.error)} onInput=${(event) => setKey(event.target.value)} />
    </label>
    ${state.error && html`<${ErrorNotice} error=${state.error} />`}
    <button class="button primary wide" disabled=${state.busy || !key.trim()}>${state.busy ? "Signing in…" : "Sign in"}</button>
  </form>`;
}

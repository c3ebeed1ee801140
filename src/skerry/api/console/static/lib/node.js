/** The node as this page sees it: who is signed in, its status, and the last minutes of it. */

import { useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { api, onSignedOut, onUnreachable } from "../api.js";

export const HISTORY_S = 120;
const RECENT_MS = 60000;
const IDLE_POLL_MS = 5000;
const LIVE_POLL_MS = 1000;
const OUTAGE_POLL_MS = 2000;

/** `{phase, session, error}`; phase is loading, signed_out, ready or failed. */
export function useSession() {
  const [state, setState] = useState({ phase: "loading", session: null, error: null });

  const refresh = useCallback(async () => {
    try {
      const { data } = await api.session();
      const phase = data.open || data.signed_in ? "ready" : "signed_out";
      setState({ phase, session: data, error: null });
    } catch (error) {
      // A page that already works stays; the status poll says that the node is gone.
      setState((now) => (now.phase === "ready" ? now : { ...now, phase: "failed", error }));
    }
  }, []);

  useEffect(() => {
    refresh();
    return onSignedOut(refresh);
  }, []);

  const signOut = useCallback(async () => {
    await api.signOut();
    await refresh();
  }, []);

  return { ...state, refresh, signOut };
}

/** Poll the status while the page is visible: each second in the Live view, else every five. */
export function useStatus({ enabled, live }) {
  const [state, setState] = useState({ status: null, error: null, history: [] });
  const poll = useRef(() => {});

  useEffect(() => {
    if (!enabled) return undefined;
    const abort = new AbortController();
    const pace = live ? LIVE_POLL_MS : IDLE_POLL_MS;
    let timer = 0;
    poll.current = async () => {
      clearTimeout(timer);
      if (document.hidden) return;
      const sample = await readStatus(abort.signal);
      if (abort.signal.aborted) return;
      setState((now) => (sample.error ? { ...now, error: sample.error } : withSample(now, sample)));
      timer = setTimeout(poll.current, sample.error ? OUTAGE_POLL_MS : pace);
    };
    const onVisible = () => poll.current();
    const stopListening = onUnreachable((error) => {
      setState((now) => ({ ...now, error }));
      clearTimeout(timer);
      timer = setTimeout(poll.current, OUTAGE_POLL_MS);
    });
    document.addEventListener("visibilitychange", onVisible);
    poll.current();
    return () => {
      abort.abort();
      clearTimeout(timer);
      stopListening();
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [enabled, live]);

  return { ...state, refresh: () => poll.current() };
}

async function readStatus(signal) {
  try {
    const { data } = await api.status(signal);
    return { status: data, atMs: Date.now() };
  } catch (error) {
    return { error };
  }
}

function withSample({ history }, { status, atMs }) {
  const oldest = atMs - HISTORY_S * 1000;
  return {
    status,
    error: null,
    history: [
      ...history.filter((sample) => sample.atMs >= oldest),
      { status, atMs, hitRate: recentHitRate(history, { status, atMs }) },
    ],
  };
}

/** Share of the last minute's lookups that hit, or null when there were none to judge by. */
function recentHitRate(history, { status, atMs }) {
  const before = history.find((sample) => sample.atMs >= atMs - RECENT_MS)?.status.cache;
  if (!before) return null;
  const lookups = ({ hits, misses, shared }) => hits + misses + shared;
  const made = lookups(status.cache) - lookups(before);
  return made > 0 ? (status.cache.hits - before.hits) / made : null;
}

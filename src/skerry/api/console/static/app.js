/** The console: which view stands, and what all views share. */

import { html, render, useCallback, useEffect, useErrorBoundary, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { api } from "./api.js";
import { Detail } from "./components/detail.js";
import { AddDialog } from "./components/documents/add.js";
import { Header } from "./components/header.js";
import { ErrorNotice, Loading } from "./components/notice.js";
import { Trays } from "./components/tray.js";
import { UploadDialog } from "./components/uploads.js";
import { Asking } from "./lib/asking.js";
import { Changes, useChanges } from "./lib/changes.js";
import { Conversation } from "./lib/chat.js";
import { ConsoleContext, allows } from "./lib/context.js";
import { carriesFiles, droppedFiles } from "./lib/files.js";
import { useSession, useStatus } from "./lib/node.js";
import { useRecognition } from "./lib/recognition.js";
import { navigate, useRoute } from "./lib/route.js";
import { UploadQueue } from "./lib/uploads.js";
import { ChatView } from "./views/chat.js";
import { CollectionView } from "./views/collection.js";
import { DocumentsView } from "./views/documents.js";
import { RecognizeView } from "./views/recognize.js";
import { SignInView } from "./views/signin.js";
import { LiveView } from "./views/status.js";
import { TextView } from "./views/text.js";

const TITLES = { recognize: "Recognise", collection: "Collection", documents: "Documents", chat: "Chat", text: "Text", live: "Live" };
const DROPS = { recognize: "Drop to recognise", documents: "Drop to add documents" };

function Console() {
  const session = useSession();
  const { view, query } = useRoute();
  const ready = session.phase === "ready";
  const node = useStatus({ enabled: ready, live: view === "live" || view === "chat" });

  useEffect(() => {
    document.title = `${TITLES[view] ?? "Not found"} · Skerry`;
  }, [view]);

  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Header} view=${view} session=${ready ? session.session : null} node=${node} onSignOut=${session.signOut} />
    ${ready && node.error && html`<${Outage} error=${node.error} onRetry=${node.refresh} />`}
    ${ready
      ? html`<${Workspace} view=${view} query=${query} session=${session.session} node=${node} />`
      : html`<main id="main" tabindex="-1"><${Gate} session=${session} /></main>`}`;
}

/** The hash belongs to the views, so the skip link moves the focus itself. */
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function Gate({ session: { phase, error, refresh } }) {
  if (phase === "signed_out") return html`<${SignInView} onSignedIn=${refresh} />`;
  if (phase === "failed") return html`<${ErrorNotice} error=${error} onRetry=${refresh} />`;
  return html`<${Loading} label="Reaching the node" />`;
}

function Outage({ error, onRetry }) {
  return html`<div class="outage"><${ErrorNotice} error=${error} onRetry=${onRetry} /></div>`;
}

function Workspace({ view, query, session, node }) {
  const recognition = useRecognition();
  const [changes] = useState(() => new Changes());
  const [documentChanges] = useState(() => new Changes());
  const [uploads] = useState(() => new UploadQueue(api.storeImage));
  const [documentUploads] = useState(() => new UploadQueue(api.storeDocument));
  const [asking] = useState(() => new Asking());
  const [conversation] = useState(() => new Conversation());
  const [adding, setAdding] = useState(null);
  const [addingDocuments, setAddingDocuments] = useState(null);
  const [said, announce] = useState("");
  const can = useCallback((scope) => allows(session.scope, scope), [session.scope]);
  const shared = useMemo(
    () => ({ session, status: node.status, outage: node.error, can, announce, changes, uploads, documentChanges, documentUploads }),
    [session, node.status, node.error, can],
  );

  useEffect(() => () => conversation.stop(), [conversation]);
  useEffect(() => uploads.onStored((image) => changes.tell("stored", image)), [uploads, changes]);
  useEffect(() => () => asking.stop(), [asking]);
  useEffect(() => documentUploads.onStored((stored) => documentChanges.tell("stored", stored)), [documentUploads, documentChanges]);
  useChanges(changes, (kind) => kind !== "changed" && node.refresh(), [node]);
  useChanges(documentChanges, () => node.refresh(), [node]);
  useChanges(changes, recognition.follow, [recognition.follow]);

  // One photo is a question; several are an addition to the collection.
  const onFiles = useCallback((files) => {
    if (view === "recognize" && files.length === 1) recognition.recognize(files[0]);
    else if (!can("write")) announce("This key may not store anything.");
    else if (view === "documents") setAddingDocuments(files);
    else setAdding(files);
  }, [view, can]);
  const dropping = useDrop(onFiles);

  return html`<${ConsoleContext.Provider} value=${shared}>
    <main id="main" tabindex="-1" class=${dropping ? "dropping" : ""}>
      <${Guarded} key=${view}>
        ${view === "recognize" && html`<${RecognizeView} recognition=${recognition} onFiles=${onFiles} />`}
        ${view === "collection" && html`<${CollectionView} query=${query} onFiles=${onFiles} />`}
        ${view === "documents" && html`<${DocumentsView} query=${query} asking=${asking} onFiles=${onFiles} />`}
        ${view === "chat" && html`<${ChatView} conversation=${conversation} />`}
        ${view === "text" && html`<${TextView} />`}
        ${view === "live" && html`<${LiveView} node=${node} />`}
        ${!TITLES[view] && html`<${Lost} />`}
      </${Guarded}>
    </main>
    ${query.image && html`<${Detail} id=${query.image} onRecognize=${recognition.recognizeStored} />`}
    ${adding && html`<${UploadDialog} files=${adding} onClose=${() => setAdding(null)} />`}
    ${addingDocuments && html`<${AddDialog} files=${addingDocuments} onClose=${() => setAddingDocuments(null)} />`}
    <${Trays} photos=${uploads} documents=${documentUploads} />
    ${dropping && html`<div class="drop-veil" aria-hidden="true"><p>${DROPS[view] ?? "Drop to add to the collection"}</p></div>`}
    <p class="visually-hidden" role="status" aria-live="polite">${said}</p>
  </${ConsoleContext.Provider}>`;
}

/** Files may be dropped anywhere on the page; without this the browser would open them instead. */
function useDrop(onFiles) {
  const [over, setOver] = useState(false);
  const depth = useRef(0);
  useEffect(() => {
    const track = (change) => (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      depth.current = Math.max(0, depth.current + change);
      setOver(depth.current > 0);
    };
    const onDrop = async (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      depth.current = 0;
      setOver(false);
      const files = await droppedFiles(event.dataTransfer);
      if (files.length) onFiles(files);
    };
    const handlers = { dragenter: track(1), dragleave: track(-1), dragover: track(0), drop: onDrop };
    for (const [name, handler] of Object.entries(handlers)) addEventListener(name, handler);
    return () => {
      for (const [name, handler] of Object.entries(handlers)) removeEventListener(name, handler);
    };
  }, [onFiles]);
  return over;
}

/** A mistake in one view must not take the page down. */
function Guarded({ children }) {
  const [error, reset] = useErrorBoundary((thrown) => console.error(thrown));
  if (!error) return children;
  return html`<${ErrorNotice} title="This view met a mistake of the console itself." error=${error} onRetry=${reset} />`;
}

function Lost() {
  useEffect(() => navigate("recognize", {}, { replace: true }), []);
  return null;
}

render(html`<${Console} />`, document.getElementById("app"));

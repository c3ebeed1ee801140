/** Ask before a document is deleted. */

import { html } from "../../vendor/htm-preact.js";
import { api } from "../../api.js";
import { useConsole } from "../../lib/context.js";
import { Confirm } from "../dialog.js";
import { titleOf } from "./marked.js";

export function DeleteDialog({ document, onClose, onDeleted = () => {} }) {
  const { documentChanges, announce } = useConsole();
  const remove = async () => {
    await api.deleteDocument(document.id);
    documentChanges.tell("deleted", document);
    announce(`${titleOf(document)} deleted.`);
    onDeleted();
  };
  return html`<${Confirm} title="Delete this document?" action="Delete" onConfirm=${remove} onClose=${onClose}>
    <p><strong>${titleOf(document)}</strong> and its passages leave the node and every search. This can’t be undone; the file it came from stays.</p>
  </${Confirm}>`;
}

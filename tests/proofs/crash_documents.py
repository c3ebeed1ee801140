"""kill -9 a node or its vector workers amid adds, changes and deletes of documents.

Run from the repository's root: `python tests/proofs/crash_documents.py --rounds 50`. Exit code 1,
and the data folder kept, when an acknowledged document is lost or not found by its words and by
its vector, when a replaced text or a deleted document is found, or when rows, chunks and vectors
disagree.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from document_ledger import Document, DocumentLedger, State
from kill_rounds import KillProof, prove, shares

from fast_model import ENVIRON, install_fast_model
from running_node import RunningNode, start_node, wait_for_texts
from tiny_encoder import install_tiny_encoder

MODEL = "tiny-encoder"
MOST_AT_ONCE = 8
KEPT = 60
SAMPLE = 30
CATCH_UP_S = 30.0
PATH = "/api/documents"
RETRIED = ("overloaded", "unavailable", "deadline_exceeded", "index_unavailable")


@dataclass
class DocumentProof(KillProof):
    """The state of one run over documents."""

    books: DocumentLedger = field(default_factory=DocumentLedger)

    def start(self, *, ready: bool = True) -> RunningNode:
        """A node over the same data folder as before, with an embedding model that costs little."""
        models = install_fast_model(self.folder / "models")
        if not (models / MODEL).exists():
            (models / MODEL).mkdir()
            install_tiny_encoder(models / MODEL)
        environ = {**ENVIRON, "SKERRY_MODELS_EMBEDDING": MODEL}
        node = start_node(self.folder / "data", models=models, environ=environ, ready=ready)
        if ready:
            wait_for_texts(node)
        return node

    def wait_ready(self, node: RunningNode) -> None:
        """Wait until the node has its embedding model too."""
        super().wait_ready(node)
        wait_for_texts(node)

    def trim(self, node: RunningNode) -> None:
        """Delete some, so that the fiftieth round is as quick as the first."""
        stored = self.books.stored()
        with node.client() as client:
            for document in random.sample(stored, max(0, len(stored) - KEPT)):
                client.delete(_path(document)).raise_for_status()
                document.acknowledge(None)

    def clients(self, http: httpx.AsyncClient) -> list[Coroutine[Any, Any, None]]:
        """Clients with documents of their own."""
        settled = [document for document in self.books.documents if not document.pending]
        return [Client(self, http, mine).work() for mine in shares(settled)]

    def check(self, node: RunningNode, *, everything: bool) -> None:
        """Hold the node's rows, chunks, vectors and searches against the ledger."""
        open_before = [document for document in self.books.documents if document.pending]
        with node.client() as client:
            for message in self.books.settle(all_rows(self, client)):
                self.wrong(message)
            documents = self.books.documents
            if not everything:
                others = random.sample(documents, min(SAMPLE, len(documents)))
                documents = list(dict.fromkeys([*open_before, *others]))
            for document in documents:
                check_document(self, client, document)
            check_counts(self, client)
        self.counts["documents checked"] += len(documents)

    def stored(self) -> int:
        """How many are stored now."""
        return len(self.books.stored())

    def sent(self) -> int:
        """How many were ever sent."""
        return len(self.books.documents)


class Client:
    """One client: adds, changes and deletes documents of its own, some at a time."""

    def __init__(self, proof: DocumentProof, http: httpx.AsyncClient, mine: list[Document]) -> None:
        self._proof = proof
        self._http = http
        self._mine = mine

    async def work(self) -> None:
        """Go on until the node is gone."""
        with suppress(httpx.TransportError):
            while True:
                await self._step()

    async def _step(self) -> None:
        stored = [document for document in self._mine if document.state is not None]
        choice = random.random()
        count = random.randint(1, MOST_AT_ONCE)
        if stored and choice < 0.2:
            await self._delete_one(random.choice(stored))
        elif stored and choice < 0.3:
            await self._delete_many(random.sample(stored, min(count, len(stored))))
        else:
            await self._put(count)

    async def _put(self, count: int) -> None:
        """New documents, new texts, deleted ones again, and other metadata, in one call."""
        books = self._proof.books
        while len(self._mine) < count:
            self._mine.append(books.new_document())
        chosen = random.sample(self._mine, count // 2)
        for _ in range(count - len(chosen)):
            chosen.append(books.new_document())
            self._mine.append(chosen[-1])
        states = [books.new_state(text_of=_sometimes(one.state)) for one in chosen]
        for document, state in zip(chosen, states, strict=True):
            document.ask(state)
        body = [one.body(state) for one, state in zip(chosen, states, strict=True)]
        answer = await self._send("POST", PATH, json=body)
        if answer.status_code not in (200, 201, 207):
            self._refused(chosen, answer)
            return
        for document, state, result in zip(chosen, states, answer.json()["documents"], strict=True):
            self._acknowledged(document, state, result)
        if random.random() < 0.3:
            await self._find(random.choice(chosen))

    def _acknowledged(self, document: Document, state: State, result: dict[str, Any]) -> None:
        expected = "created" if document.state is None else "updated"
        if result["status"] == "failed" and result["error"]["code"] in RETRIED:
            self._mine.remove(document)
            return
        if (result["id"], result["status"]) != (document.id, expected):
            self._proof.wrong(f"{document.id} should be {expected}, the node says {result}")
        document.acknowledge(state)

    async def _delete_one(self, document: Document) -> None:
        document.ask(None)
        answer = await self._send("DELETE", _path(document))
        if answer.status_code != 204:
            self._refused([document], answer)
            return
        document.acknowledge(None)

    async def _delete_many(self, documents: list[Document]) -> None:
        for document in documents:
            document.ask(None)
        ids = [document.id for document in documents]
        answer = await self._send("POST", f"{PATH}/delete", json={"ids": ids})
        if answer.status_code != 200:
            self._refused(documents, answer)
            return
        if answer.json() != {"deleted": len(ids)}:
            self._proof.wrong(f"{len(ids)} were to be deleted: {answer.text}")
        for document in documents:
            document.acknowledge(None)

    async def _find(self, document: Document) -> None:
        if document.state is None or document.pending:
            return
        answer = await self._send("POST", "/api/search", json=by_word(document.state.word))
        if answer.status_code == 200:
            check_found(self._proof, document, answer.json()["results"], "under load")

    async def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        answer = await self._http.request(method, path, **body)
        name = "document" if method == "DELETE" else path.removeprefix("/api/")
        self._proof.counts[f"{method} {name} {answer.status_code}"] += 1
        return answer

    def _refused(self, documents: list[Document], answer: httpx.Response) -> None:
        """A 503 promises nothing, so they are left alone; whatever else is a violation."""
        for document in documents:
            self._mine.remove(document)
        if answer.status_code != 503:
            self._proof.wrong(f"{documents[0].id}: {answer.status_code}: {answer.text}")


def _sometimes(state: State | None) -> State | None:
    """The text to keep, so that only metadata changes: in one case of three."""
    return state if random.random() < 1 / 3 else None


def _path(document: Document) -> str:
    return f"{PATH}/{quote(document.id, safe='')}"


def by_word(word: str) -> dict[str, Any]:
    """A search that the one text with this word answers."""
    return {"query": word, "mode": "keyword", "limit": 100, "facets": []}


def check_found(
    proof: DocumentProof, document: Document, results: list[dict[str, Any]], when: str
) -> None:
    """The document's word finds it, as it was acknowledged, and nothing else."""
    state = document.state
    assert state is not None
    told = {(one["id"], one["metadata"].get("version")) for one in results}
    if told != {(document.id, state.version)}:
        proof.wrong(f"{document.id}: its word {state.word} finds {told} {when}")
    if any(state.text[one["start"] : one["end"]] != one["text"] for one in results):
        proof.wrong(f"{document.id}: a chunk is not of its text {when}")


def all_rows(proof: DocumentProof, client: httpx.Client) -> dict[str, State]:
    """Every listed document with its text; none may stand twice."""
    rows: dict[str, State] = {}
    query: dict[str, Any] = {"limit": 37}
    while True:
        page = client.get(PATH, params=query).json()
        for row in page["documents"]:
            if row["id"] in rows:
                proof.wrong(f"{row['id']} stands twice in the list")
            whole = client.get(f"{PATH}/{quote(row['id'], safe='')}").json()
            word = whole["text"].split()[-1].rstrip(".")
            rows[row["id"]] = State(word, whole["text"], row["metadata"]["version"])
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    if page["total"] != len(rows):
        proof.wrong(f"the list has {len(rows)} documents, its total is {page['total']}")
    return rows


def check_document(proof: DocumentProof, client: httpx.Client, document: Document) -> None:
    """One document: its words, its vectors, and what it once was."""
    if document.state is not None:
        check_found(proof, document, search(proof, client, by_word(document.state.word)), "after")
    elif client.get(_path(document)).status_code != 404:
        proof.wrong(f"{document.id} was deleted, and is there")
    for word in document.former_words:
        if found := search(proof, client, by_word(word)):
            proof.wrong(f"{document.id}: its former word {word} finds {found}")
    body = {"query": "seals", "mode": "dense", "limit": 100, "filter": {"id": document.id}}
    texts = [one["text"] for one in search(proof, client, body)]
    chunks = client.get(_path(document), params={"chunks": "true"}).json().get("parts", [])
    if sorted(texts) != sorted(chunk["text"] for chunk in chunks):
        proof.wrong(f"{document.id} has {len(chunks)} chunks, its vectors are of {texts}")


def search(
    proof: DocumentProof, client: httpx.Client, body: dict[str, Any]
) -> list[dict[str, Any]]:
    """The results; a search that fails when the node is ready is a violation."""
    answer = client.post("/api/search", json=body)
    if answer.status_code != 200:
        proof.wrong(f"a search was answered {answer.status_code}: {answer.text}")
        return []
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def check_counts(proof: DocumentProof, client: httpx.Client) -> None:
    """As many vectors as chunks once the index has caught up."""
    end = time.monotonic() + CATCH_UP_S
    while True:
        told = client.get("/api/status").json()["documents"]
        index = told["index"]
        if (index["lag"] == 0 and index["state"] == "ready") or time.monotonic() > end:
            break
        time.sleep(0.02)
    stored = len(proof.books.stored())
    if not stored and not index["space"]:
        return
    if (told["count"], index["points"], index["lag"]) != (stored, told["chunks"], 0):
        proof.wrong(f"{stored} documents are stored, and the node says {told}")


if __name__ == "__main__":
    sys.exit(prove(DocumentProof, things="documents", rounds=50, about=__doc__))

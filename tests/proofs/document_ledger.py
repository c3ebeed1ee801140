"""What a crashing node was asked and what it acknowledged of documents."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SENTENCES = (
    "The harbour is calm this morning.",
    "A boat sails to the island where seals sleep.",
    "The cat sat on the mat by the rocks.",
)
MOST_SENTENCES = 12
"""Some documents have one chunk, others several."""


class State(NamedTuple):
    """What of a document is stored: `word` stands in no other text."""

    word: str
    text: str
    version: int
    """Its metadata."""


@dataclass(eq=False)
class Document:
    """One document through its life. What was under way when the node died may have happened."""

    id: str
    state: State | None = None
    """As the node acknowledged it; None: it is not stored."""
    pending: list[State | None] = field(default_factory=list)
    """As it is now if what was sent and not answered has happened."""
    former_words: set[str] = field(default_factory=set)
    """Of texts that were replaced or deleted."""

    def ask(self, state: State | None) -> None:
        """A request is on its way."""
        self.pending = [state]

    def acknowledge(self, state: State | None) -> None:
        """It is so."""
        if self.state is not None and (state is None or state.word != self.state.word):
            self.former_words.add(self.state.word)
        lost = {one.word for one in self.pending if one is not None}
        self.former_words |= lost - {state.word if state else ""}
        self.state, self.pending = state, []

    def allowed(self) -> list[State | None]:
        """The states it may be in."""
        return [self.state, *self.pending]

    def body(self, state: State) -> dict[str, Any]:
        """As it is sent."""
        metadata = {"version": state.version}
        return {"id": self.id, "text": state.text, "category": "crash", "metadata": metadata}


class DocumentLedger:
    """Every document there ever was."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self._numbers = itertools.count(1)

    def new_document(self) -> Document:
        """A document nobody has sent yet; its id is a path."""
        document = Document(f"folder/{next(self._numbers)}.md")
        self.documents.append(document)
        return document

    def new_state(self, *, text_of: State | None = None) -> State:
        """A new text, or other metadata for the text there is."""
        number = next(self._numbers)
        if text_of is not None:
            return text_of._replace(version=number)
        word = f"zq{number}zq"
        count = random.randint(1, MOST_SENTENCES)
        text = " ".join(f"{random.choice(SENTENCES)} {word}." for _ in range(count))
        return State(word, text, number)

    def stored(self) -> list[Document]:
        """Those the node has acknowledged."""
        return [document for document in self.documents if document.state is not None]

    def settle(self, rows: Mapping[str, State]) -> Iterator[str]:
        """Compare with what the node holds by id, take over what was open; the violations."""
        known = {document.id for document in self.documents}
        yield from (f"{unknown} is of no document we sent" for unknown in rows.keys() - known)
        for document in self.documents:
            row = rows.get(document.id)
            found = next((s for s in document.allowed() if _same(s, row)), row)
            if found not in document.allowed():
                yield f"{document.id} is {row}, not {document.allowed()}"
            document.acknowledge(found)


def _same(state: State | None, row: State | None) -> bool:
    if state is None or row is None:
        return state is row
    return (state.text, state.version) == (row.text, row.version)

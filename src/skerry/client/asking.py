"""Ask a node's documents a question."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Literal

import msgspec

from skerry.client.transport import Transport

AskMode = Literal["auto", "extract", "generate"]
PATH = "/api/ask"
DATA = "data:"


class AnswerSource(msgspec.Struct, omit_defaults=True):
    """What stands from `start` to `end` in the text of the document `id`.

    `supports` are the places in the answer, [start, end), that rest on it.
    """

    id: str
    chunk: int
    start: int
    end: int
    text: str
    score: float
    title: str | None = None
    page: int | None = None
    heading: str = ""
    supports: list[tuple[int, int]] = []


class DocumentsAnswer(msgspec.Struct, omit_defaults=True):
    """An answer with its sources; `declined`: there is none, and `reason` says why.

    `mode` is `extract` for quotes, `generate` for what `model` wrote. `unsupported` are the places
    in a generated answer that no source supports. `chance`, 0…1, is that the documents answer.
    """

    answer: str | None
    declined: bool
    mode: Literal["extract", "generate"]
    reason: str = ""
    sources: list[AnswerSource] = []
    unsupported: list[tuple[int, int]] = []
    chance: float | None = None
    model: str | None = None
    finish_reason: str | None = None
    total_time_ms: float = 0.0
    search_time_ms: float = 0.0
    explain: dict[str, Any] | None = None


class AnswerPart(msgspec.Struct):
    """The next text of an answer that is being written; at last `whole`, with all of it."""

    text: str = ""
    whole: DocumentsAnswer | None = None


class Asking:
    """Questions to one node."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def ask(self, body: Mapping[str, Any]) -> DocumentsAnswer:
        """The whole answer at once."""
        return self._transport.call("POST", PATH, type=DocumentsAnswer, json=body)

    def stream(self, body: Mapping[str, Any]) -> Generator[AnswerPart]:
        """The answer as it is written; closing the iterator ends it on the node too."""
        for line in self._transport.lines("POST", PATH, json={**body, "stream": True}):
            data = line.removeprefix(DATA).strip()
            if not line.startswith(DATA):
                continue
            if data.startswith('{"answer"'):
                yield AnswerPart(whole=self._transport.read_event(data, DocumentsAnswer))
            else:
                yield self._transport.read_event(data, AnswerPart)


def ask_body(
    question: str,
    *,
    mode: AskMode,
    limit: int,
    filter: Mapping[str, Any] | None,
    explain: bool,
) -> dict[str, Any]:
    """What is sent for a question."""
    body: dict[str, Any] = {"question": question, "mode": mode, "limit": limit}
    if filter:
        body["filter"] = dict(filter)
    return {**body, "explain": True} if explain else body

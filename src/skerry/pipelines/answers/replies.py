"""What a question is, and what answering it gives: pieces first, at last the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from skerry.filters import Filter
from skerry.generation.base import FinishReason
from skerry.pipelines.answers.findings import Findings
from skerry.sql.document_rows import FoundChunk

Mode = Literal["extract", "generate"]
Place = tuple[int, int]
"""Start and end in the answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; `limit`, 1 to READ, bounds the passages of the prompt, or the quotes."""

    text: str
    mode: Mode | Literal["auto"] = "auto"
    limit: int = 5
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What stands from `start` to `end` in the text of the chunk's document.

    `supports` are the places in the answer that rest on it. `score`: of a quote the chance, 0…1,
    that it holds the answer, of a passage that of the search.
    """

    chunk: FoundChunk
    start: int
    end: int
    score: float
    supports: list[Place] = field(default_factory=list)

    @property
    def text(self) -> str:
        """It, verbatim."""
        return self.chunk.between(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Generated:
    """How an answer was generated; `unsupported` are its places that no source supports."""

    prompt: str
    model: str
    finish_reason: FinishReason
    unsupported: list[Place] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Opened:
    """How the question is answered, and from what, before the first word of the answer."""

    mode: Mode
    sources: list[Source]


@dataclass(frozen=True, slots=True)
class Piece:
    """The next of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer; `text` is None when the question is declined, and `reason` says why."""

    mode: Mode
    text: str | None
    sources: list[Source]
    reason: str = ""
    findings: Findings | None = None
    generated: Generated | None = None


Event = Opened | Piece | Reply

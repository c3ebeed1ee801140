"""Take found chunks apart into their sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from skerry.media.sentences import Border, Piece, pieces
from skerry.pipelines.documents.search import Hit
from skerry.sql.document_rows import FoundChunk

FENCE = re.compile(r"^[ \t]*(?:```|~~~)[`~]*(?P<language>[^\s`]?)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a chunk; `start` and `end` are offsets into its document's text.

    `rank` is that of the chunk, and `place` its own among the sentences of the chunk.
    """

    chunk: FoundChunk
    chunk_score: float
    rank: int
    place: int
    start: int
    end: int
    is_heading: bool

    @property
    def text(self) -> str:
        """It, verbatim."""
        return self.chunk.between(self.start, self.end)


def sentences_of(hits: Sequence[Hit]) -> list[Sentence]:
    """Every sentence and heading of the chunks once, though chunks overlap; best chunks first."""
    found: dict[tuple[str, int, int], Sentence] = {}
    for rank, hit in enumerate(hits):
        chunk = hit.chunk
        for place, piece in enumerate(_pieces(chunk.text)):
            start, end = chunk.start + piece.start, chunk.start + piece.end
            is_heading = piece.border is Border.HEADING
            sentence = Sentence(chunk, hit.score, rank, place, start, end, is_heading)
            found.setdefault((chunk.document, start, end), sentence)
    return list(found.values())


def _pieces(text: str) -> list[Piece]:
    """The pieces of a chunk, which may begin within a block of code and end within another."""
    fences = list(FENCE.finditer(text))
    # A fence that names a language opens a block. One that names none, and has no partner or is
    # followed by an opening one, ends a block which the chunk before began.
    opens = [bool(fence["language"]) for fence in fences[:2]]
    begins_inside = opens == [False, True] or (len(fences) % 2 == 1 and not opens[0])
    if not begins_inside:
        return pieces(text)
    end = fences[0].end()
    later = [
        replace(piece, start=piece.start + end, end=piece.end + end) for piece in pieces(text[end:])
    ]
    return [Piece(0, end, Border.PARAGRAPH), *later]

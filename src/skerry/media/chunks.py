"""Cut a text into overlapping pieces that a model's window holds, at the borders a reader sees."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from skerry.media.sentences import Border, Piece, pieces
from skerry.media.sentences import sentences as sentences

CHARACTERS_PER_TOKEN = 32
"""Text without tokens (spaces, one endless word) counts as one token for so many characters."""
NOT_BLANK = re.compile(r"\S")
BLANK = re.compile(r"\s")
LINE_BREAK = re.compile(r"\n")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The characters `start` to `end` of a text, without blanks at either end.

    `page` is the 1-based page it begins on, None without pages; `heading` the nearest one at or
    above its beginning, "" when there is none.
    """

    start: int
    end: int
    page: int | None
    heading: str


def chunk(
    text: str,
    *,
    token_starts: Sequence[int],
    max_tokens: int = 200,
    overlap: int = 40,
    pages: Sequence[int] = (),
) -> list[Chunk]:
    """Chunks of at most `max_tokens`, in order; every character that is not blank is in one.

    `token_starts` are the character offsets of the model's tokens over `text`, ascending;
    `pages` the offsets at which pages begin. A chunk ends at the last heading or paragraph that
    leaves it half full, else at the last sentence; longer sentences and code are cut at lines,
    then words. It repeats up to `overlap` tokens of the one before, nothing from above a heading.
    """
    if not 0 <= overlap < max_tokens:
        raise ValueError(f"an overlap of {overlap} in chunks of {max_tokens} tokens")
    found = pieces(text)
    cutter = _Cutter(text, _marks(text, token_starts), found, max_tokens, overlap)
    titles = [piece for piece in found if piece.border == Border.HEADING]
    title_starts = [title.start for title in titles]
    return [
        Chunk(start, end, _page(start, pages), _heading(start, title_starts, titles))
        for start, end in cutter.cuts()
    ]


def _page(start: int, pages: Sequence[int]) -> int | None:
    return max(1, bisect_right(pages, start)) if pages else None


def _heading(start: int, starts: Sequence[int], titles: Sequence[Piece]) -> str:
    above = bisect_right(starts, start)
    return titles[above - 1].heading if above else ""


def _marks(text: str, token_starts: Sequence[int]) -> list[int]:
    """Where each token starts, with marks in between wherever there is none for long."""
    edges = [*token_starts, len(text)]
    marks = list(range(0, edges[0], CHARACTERS_PER_TOKEN))
    for start, after in pairwise(edges):
        marks.append(start)
        if after - start > CHARACTERS_PER_TOKEN:
            marks.extend(range(start + CHARACTERS_PER_TOKEN, after, CHARACTERS_PER_TOKEN))
    return marks


class _Cutter:
    def __init__(
        self,
        text: str,
        marks: Sequence[int],
        found: Sequence[Piece],
        max_tokens: int,
        overlap: int,
    ) -> None:
        self._text = text
        self._marks = marks
        self._pieces = found
        self._starts = [piece.start for piece in found]
        self._max_tokens = max_tokens
        self._overlap = overlap

    def cuts(self) -> Iterator[tuple[int, int]]:
        """Start and end of each chunk."""
        start, end = 0, 0
        while first := NOT_BLANK.search(self._text, start):
            start = first.start()
            end = self._end(start, after=max(start, end))
            yield start, start + len(self._text[start:end].rstrip())
            if NOT_BLANK.search(self._text, end) is None:
                return  # what is left to repeat holds nothing new
            start = self._resume(start, end)

    def _end(self, start: int, *, after: int) -> int:
        """Where the chunk that begins at `start` is cut: behind `after`, in reach of the window."""
        mark = bisect_left(self._marks, start)
        limit = max(self._mark(mark + self._max_tokens), after + 1)
        if limit >= len(self._text):
            return len(self._text)
        half = max(after, self._mark(mark + self._max_tokens // 2))
        quarter = max(after, self._mark(mark + self._max_tokens // 4))
        return (
            self._last_border(half, limit, Border.HEADING)
            or self._last_border(half, limit, Border.PARAGRAPH)
            or self._last_border(quarter, limit, Border.SENTENCE)
            or self._last_gap(half, limit)
            or limit
        )

    def _mark(self, number: int) -> int:
        return self._marks[number] if number < len(self._marks) else len(self._text)

    def _last_border(self, after: int, limit: int, least: Border) -> int | None:
        """Where the last piece with such a border begins, behind `after` up to `limit`."""
        begin, end = bisect_right(self._starts, after), bisect_right(self._starts, limit)
        for piece in reversed(self._pieces[begin:end]):
            if piece.border >= least:
                return piece.start
        return None

    def _last_gap(self, after: int, limit: int) -> int | None:
        line = self._text.rfind("\n", after, limit)
        if line > after:
            return line
        if self._text[limit - 1].isspace() or self._text[limit].isspace():
            return limit
        words = self._text[after:limit].rsplit(maxsplit=1)
        return limit - len(words[1]) if len(words) == 2 else None

    def _resume(self, start: int, end: int) -> int:
        """Where the next chunk begins: up to `overlap` tokens before the `end` of this one."""
        back = self._mark(max(0, bisect_left(self._marks, end) - self._overlap))
        begin, stop = (
            bisect_left(self._starts, max(start + 1, back)),
            bisect_right(self._starts, end),
        )
        inside = self._pieces[begin:stop]
        for piece in reversed(inside):
            if piece.border == Border.HEADING:
                return piece.start
        whole = [
            piece.start for piece in inside if piece.start < end and piece.border > Border.NONE
        ]
        return whole[0] if whole else self._inside(max(start + 1, back), end)

    def _inside(self, start: int, end: int) -> int:
        """The first line, else the first word, that begins behind `start`; `end` without any."""
        if self._overlap == 0:
            return end
        gap = LINE_BREAK.search(self._text, start, end) or BLANK.search(self._text, start, end)
        return gap.end() if gap else end

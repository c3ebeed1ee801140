"""Keep special tokens that stand in somebody's text from being read as commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from skerry.errors import BadRequest
from skerry.generation.text_stream import held_back

# Unicode keeps these for programs' own use: they are no characters, and no text needs them.
MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
LONGEST = 64
"""Letters looked at beside a text; special tokens are shorter."""
T = TypeVar("T")


class Breaker:
    """Breaks every special token in a text by a mark at which the tokeniser's input is cut.

    The tokeniser sees `<` and `|im_end|>`, one after the other, and makes text of both: a
    template may still trim or look into a message, since all of its letters are there.
    """

    def __init__(self, special: Sequence[str]) -> None:
        # One letter cannot be broken, and commands no model.
        self._special = sorted((t for t in special if len(t) > 1), key=len, reverse=True)
        self._reversed = [token[::-1] for token in self._special]
        alternatives = "|".join(map(re.escape, self._special))
        self._pattern = re.compile(alternatives) if alternatives else None

    def mark_for(self, texts: Iterable[str]) -> str:
        """A mark that none of the texts holds, as it is or as JSON writes it; BadRequest."""
        everything = "\n".join(texts).lower()
        for mark in MARKS:
            if mark not in everything and _escaped(mark) not in everything:
                return mark
        raise BadRequest("The text holds every noncharacter of Unicode.")

    def broken(self, text: str, mark: str) -> str:
        """The text with a mark in each special token, and where one could come to be."""
        if self._pattern is None:
            return text
        pieces, begin = [], 0
        while (match := self._pattern.search(text, begin)) is not None:
            pieces.append(text[begin : match.start() + 1])
            begin = match.start() + 1
        pieces.append(text[begin:])
        # What stands beside the text in a template must not complete a token either.
        before = mark if held_back(text[:LONGEST][::-1], self._reversed) else ""
        after = mark if held_back(text[-LONGEST:], self._special) else ""
        return before + mark.join(pieces) + after

    def broken_json(self, value: T, mark: str) -> T:
        """The same for every text within JSON; keys too."""
        return _walk(value, lambda text: self.broken(text, mark))


def cut(rendered: str, mark: str) -> list[str]:
    """The pieces to tokenise one by one; a template's `tojson` may have escaped the mark."""
    escaped = re.escape(_escaped(mark))
    return [piece for piece in re.split(f"{mark}|(?i:{escaped})", rendered) if piece]


def _escaped(mark: str) -> str:
    return f"\\u{ord(mark):04x}"


def _walk(value: T, change: Callable[[str], str]) -> T:
    if isinstance(value, str):
        return change(value)  # type: ignore[return-value]
    if isinstance(value, dict):
        return {change(key): _walk(item, change) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [_walk(item, change) for item in value]  # type: ignore[return-value]
    return value

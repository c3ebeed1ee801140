"""Write paragraphs, headings, lists, tables and code as one markdown text."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from skerry.media.readers.base import escaped

Kind = Literal["paragraph", "heading", "item", "row", "code"]
TOGETHER = ("item", "row")
"""Kinds that follow each other without an empty line."""


class Blocks:
    """Blocks in order; a blank one is left out."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Kind, str]] = []

    def add(self, text: str, *, kind: Kind = "paragraph") -> None:
        """A block whose text is finished."""
        if text and not text.isspace():
            self._blocks.append((kind, escaped(text) if kind == "paragraph" else text))

    def heading(self, text: str, *, level: int) -> None:
        """A heading of level 1 to 6, on one line."""
        if line := " ".join(text.split()):
            self.add(f"{'#' * min(max(level, 1), 6)} {line}", kind="heading")

    def item(self, text: str, *, depth: int = 0, mark: str = "-") -> None:
        """An item of a list."""
        if text and not text.isspace():
            self.add(f"{'  ' * depth}{mark} {text}", kind="item")

    def row(self, cells: list[str]) -> None:
        """A row of a table, on one line."""
        told = [" ".join(cell.split()) for cell in cells]
        if any(told):
            self.add(f"| {' | '.join(told)} |", kind="row")

    def code(self, text: str) -> None:
        """Lines that stay as they are."""
        fence = "```"
        while fence in text:
            fence += "`"
        if text and not text.isspace():
            self.add(f"{fence}\n{text.strip(chr(10))}\n{fence}", kind="code")

    def text(self) -> str:
        """All of it."""
        parts = [text for _, text in self._blocks[:1]]
        for (before, _), (kind, text) in pairwise(self._blocks):
            parts.append("\n" if before == kind and kind in TOGETHER else "\n\n")
            parts.append(text)
        return "".join(parts)

    @property
    def first_heading(self) -> str | None:
        """The text of the first heading."""
        return next((text.lstrip("# ") for kind, text in self._blocks if kind == "heading"), None)

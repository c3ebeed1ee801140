"""Find the headings, paragraphs and sentences of plain text and markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

# A line without its indentation; blank lines are only seen as the gap between two of these.
LINE = re.compile(r"\S[^\n]*")
NOT_BLANK = re.compile(r"\S")
ITEM = re.compile(r"(?:[-*+•]|\d{1,9}[.)])\s")
HTML_HEADING = re.compile(r"<h([1-6])\b[^>]{0,200}>(.{0,300}?)</h\1>", re.IGNORECASE)
TAG = re.compile(r"<[^>]{0,200}>")
FENCES = ("```", "~~~")
CODE_INDENT = 4
MAX_HEADING_CHARACTERS = 200

# A full stop ends a sentence before white space, that of Chinese, Japanese or Hindi anywhere.
STOP = re.compile(
    r"""(?P<spaced> [.!?…]+ ["'”’)\]»]* (?=\s) ) | [。！？．｡।؟۔]+ [」』）”’"'»]*""", re.VERBOSE
)
WORD_BEFORE = re.compile(r"[\w.]+\Z")
LETTERS_WITH_STOPS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
ABBREVIATED = """
adj al approx apt asst ave blvd capt cf cmdr co col corp dept dr est ft gen gov hon inc jr lt ltd
messrs mr mrs ms mt prof rep rev sen sgt sr st vs viz
"""
COUNTED = "art ch chap eq eqn fig figs no nos p para pp sec sect tab vol"
ABBREVIATIONS = frozenset(ABBREVIATED.split())
BEFORE_A_NUMBER = frozenset(COUNTED.split())


class Border(IntEnum):
    """How good a place to cut the beginning of a piece is."""

    NONE = 0
    SENTENCE = 1
    PARAGRAPH = 2
    HEADING = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """The characters `start` to `end`: a sentence, a list item's, a table row, code or a heading.

    `border` is that of its beginning; a heading has its text in `heading`.
    """

    start: int
    end: int
    border: Border
    heading: str = ""


def sentences(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, without blanks around it.

    Headings, list items and table rows end where their line or item does; a block of code is one
    whatever stands in it, and a line break in a paragraph ends nothing.
    """
    return [(piece.start, piece.end) for piece in pieces(text)]


def pieces(text: str) -> list[Piece]:
    """All that is not blank in `text`, in order, and how well it can be cut there."""
    found: list[Piece] = []
    after_heading = False
    for block in _blocks(text):
        # A heading stays with what it heads.
        border = Border.NONE if after_heading else Border.PARAGRAPH
        after_heading = block.kind == "heading"
        if after_heading:
            title = _title(text[block.start : block.end])
            found.append(Piece(block.start, block.end, Border.HEADING, title))
        elif block.kind == "code":
            found.append(Piece(block.start, block.end, border))
        else:
            for start, end in _prose(text, block.start, block.end):
                found.append(Piece(start, end, border))
                border = Border.SENTENCE
    return found


def first_heading(text: str) -> str | None:
    """The first heading of a markdown text."""
    for block in _blocks(text):
        if block.kind == "heading":
            return _title(text[block.start : block.end]) or None
    return None


@dataclass(slots=True)
class _Block:
    start: int
    end: int
    kind: str  # "heading", "code", "prose" or "row"
    fence: str = ""


def _blocks(text: str) -> Iterator[_Block]:
    block: _Block | None = None
    for match in LINE.finditer(text):
        line, end = match.group(), match.start() + len(match.group().rstrip())
        if block is not None and _goes_on(block, line, text, match.start()):
            block.end = end
            if block.fence and line.rstrip() == block.fence:
                block.fence = "closed"
            continue
        if block is not None:
            yield block
        block = _opened(line, text, match.start(), end, previous=block)
    if block is not None:
        yield block


def _opened(line: str, text: str, start: int, end: int, *, previous: _Block | None) -> _Block:
    if line.startswith(FENCES):
        return _Block(start, end, "code", fence=line[: len(line) - len(line.lstrip(line[0]))])
    if _is_heading(line):
        return _Block(start, end, "heading")
    if line.startswith("|"):
        return _Block(start, end, "row")
    blank_before = previous is None or text.count("\n", previous.end, start) > 1
    is_code = blank_before and _indent(text, start) >= CODE_INDENT and not ITEM.match(line)
    return _Block(start, end, "code" if is_code else "prose")


def _goes_on(block: _Block, line: str, text: str, start: int) -> bool:
    """Whether the line that begins at `start` belongs to the block before it."""
    if block.fence:
        return block.fence != "closed"
    if block.kind in ("heading", "row"):
        return False
    if block.kind == "code":
        return _indent(text, start) >= CODE_INDENT
    if text.count("\n", block.end, start) > 1:
        return False
    if _is_underline(line) and "\n" not in text[block.start : block.end]:
        block.kind = "heading"
        return True
    return not (
        line.startswith((*FENCES, "|")) or _is_heading(line) or ITEM.match(line) is not None
    )


def _indent(text: str, start: int) -> int:
    line_start = text.rfind("\n", 0, start) + 1
    return CODE_INDENT if text[line_start:start].startswith("\t") else start - line_start


def _is_underline(line: str) -> bool:
    stripped = line.rstrip()
    return len(stripped) >= 3 and set(stripped) in ({"="}, {"-"})


def _is_heading(line: str) -> bool:
    if line[0] == "<":
        return HTML_HEADING.match(line) is not None
    if line[0] != "#":
        return False
    rest = line.lstrip("#")
    return len(line) - len(rest) <= 6 and rest[:1] in (" ", "\t") and not rest.isspace()


def _title(block: str) -> str:
    html = HTML_HEADING.match(block)
    line = TAG.sub("", html.group(2)) if html else block.partition("\n")[0].strip("# \t\r")
    return " ".join(line.split())[:MAX_HEADING_CHARACTERS]


def _prose(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for stop in STOP.finditer(text, start, end):
        after = NOT_BLANK.search(text, stop.end(), end)
        if after is None:
            break
        if stop["spaced"] is None or _ends(text, start, stop, after.start()):
            yield start, stop.end()
            start = after.start()
    yield start, end


def _ends(text: str, start: int, stop: re.Match[str], after: int) -> bool:
    """Whether a sentence that began at `start` ends at a full stop before white space."""
    if text[after].islower():
        return False
    if stop.group()[0] != "." or stop.group()[:2] == "..":
        return True
    found = WORD_BEFORE.search(text, max(start, stop.start() - 24), stop.start())
    word = found.group() if found else ""
    if word.isdigit() and found is not None and found.start() == start:
        return False  # the number of a list item
    if word.lower() in BEFORE_A_NUMBER:
        return not text[after].isdigit()
    return word.lower() not in ABBREVIATIONS and LETTERS_WITH_STOPS.fullmatch(word) is None

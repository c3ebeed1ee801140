"""Questions over the Rust book with the words that answer them: loading, scoring, checking.

`_questions.py FOLDER` holds every question against the book's sources in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

RUSTBOOK = Path(__file__).parent / "questions" / "rustbook.jsonl"
DECISIONS = Path(__file__).parent / "questions" / "decisions.jsonl"
SPLITS = ("development", "test")
SPAN_WORDS = range(3, 16)
COPIED_WORDS = 4
"""A question that has so many words in a row of its own answer was written with an eye on it."""

COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
TAG = re.compile(
    r"</?(?:a|br|code|em|figcaption|figure|img|kbd|Listing|pre|span|strong|sup)\b[^>]*>"
)
LINK_TARGET = re.compile(r"\](?:\([^)]*\)|\[[^\]]*\])")
LINE_MARK = re.compile(r"[>#+-]+")
"""What stands alone before a quotation, a heading or an item; a chunk may hold it in mid-line."""
MARKS = str.maketrans("|’“”", ' \'""', "*_`[]")
SENTENCE_END = re.compile(r"(?<=[.!?:])[\"'”’)*_]*\s+|\n\s*\n")


@dataclass(frozen=True, slots=True)
class Question:
    """One question; the fields from `file` on are empty if the book does not answer it.

    `start_line` and `end_line` count from 1 and are both meant. `span` stands verbatim in these
    lines, line breaks included; where documents change and have no lines here (0), anywhere in the
    file. `passage` is their whole text, known after `load(source=...)`.
    """

    id: str
    question: str
    answerable: bool
    split: str
    file: str = ""
    start_line: int = 0
    end_line: int = 0
    span: str = ""
    passage: str = ""

    @property
    def stratum(self) -> str:
        """The chapter of an answerable question, the kind of the others: what is split evenly."""
        return self.id.split("-")[0]


def load(path: Path = RUSTBOOK, *, source: Path | None = None) -> list[Question]:
    """All questions in the file's order, with their passages if the book's folder is given."""
    lines = path.read_text(encoding="utf-8").splitlines()
    questions = [Question(**json.loads(line)) for line in lines]
    return questions if source is None else [with_passage(one, source) for one in questions]


def with_passage(question: Question, source: Path) -> Question:
    if not question.start_line:
        return question
    lines = (source / question.file).read_text(encoding="utf-8").split("\n")
    return replace(question, passage="\n".join(lines[question.start_line - 1 : question.end_line]))


def contains_gold(quote: str, question: Question) -> bool:
    """Whether the quoted text carries the answer; markup, spaces and case make no difference.

    It does if it holds the span. It also does if one of its sentences stands in the gold lines and
    shares at least half of the span with them (another cut between sentences is no wrong answer);
    for that the question must have been loaded with its `source`.
    """
    span = plain(question.span)
    if not span:
        return False
    if span in plain(quote):
        return True
    gold = plain(question.passage)
    return any(2 * shared(plain(one), span, gold) >= len(span) for one in SENTENCE_END.split(quote))


def shared(sentence: str, span: str, gold: str) -> int:
    """How many characters of the span the sentence covers in the gold text."""
    at, start = gold.find(sentence), gold.find(span)
    if not sentence or at < 0 or start < 0:
        return 0
    return min(at + len(sentence), start + len(span)) - max(at, start)


def plain(text: str) -> str:
    """The words of a markdown text, in lower case with single spaces, without its markup."""
    text = LINK_TARGET.sub("]", TAG.sub("", COMMENT.sub("", text)))
    words = text.translate(MARKS).casefold().split()
    return " ".join(word for word in words if not LINE_MARK.fullmatch(word))


def problems(questions: Sequence[Question], source: Path) -> Iterator[str]:
    """What is wrong with the set, a sentence each."""
    for field in ("id", "question"):
        counts = Counter(getattr(question, field) for question in questions)
        yield from (f"{field} {value!r} occurs {n} times" for value, n in counts.items() if n > 1)
    for question in questions:
        if question.split not in SPLITS:
            yield f"{question.id}: split {question.split!r} is none of {SPLITS}"
        found = gold_problems(question, source) if question.answerable else stray_gold(question)
        yield from (f"{question.id}: {problem}" for problem in found)
    yield from uneven_splits(questions)


def gold_problems(question: Question, source: Path) -> Iterator[str]:
    if not (source / question.file).is_file():
        yield f"{question.file!r} is no file of the book"
        return
    passage = with_passage(question, source).passage
    if not contains_gold(" ".join(passage.split()), question):
        yield "its own lines do not count as an answer"
    if not 1 <= question.start_line <= question.end_line:
        yield f"lines {question.start_line} to {question.end_line} are no range"
    elif question.span not in passage:
        yield f"the span is not in lines {question.start_line} to {question.end_line}"
    if len(question.span.split()) not in SPAN_WORDS:
        yield f"the span has {len(question.span.split())} words"
    if copied := word_runs(question.question) & word_runs(passage):
        yield f"the question copies {' '.join(copied.pop())!r}"


def stray_gold(question: Question) -> Iterator[str]:
    if question.file or question.span or question.start_line or question.end_line:
        yield "has a place in the book although it is marked as unanswerable"


def word_runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", plain(text))
    return {tuple(words[at : at + COPIED_WORDS]) for at in range(len(words) - COPIED_WORDS + 1)}


def uneven_splits(questions: Sequence[Question]) -> Iterator[str]:
    counts = Counter((question.stratum, question.split) for question in questions)
    for stratum in dict.fromkeys(question.stratum for question in questions):
        development, test = (counts[stratum, split] for split in SPLITS)
        if abs(development - test) > 1:
            yield f"{stratum}: {development} questions for development, {test} for test"


def print_counts(questions: Sequence[Question]) -> None:
    counts = Counter((question.stratum, question.split) for question in questions)
    print(f"{'stratum':12}{SPLITS[0]:>13}{SPLITS[1]:>13}")
    for stratum in dict.fromkeys(question.stratum for question in questions):
        print(f"{stratum:12}" + "".join(f"{counts[stratum, split]:>13}" for split in SPLITS))
    for answerable in (True, False):
        chosen = Counter(one.split for one in questions if one.answerable is answerable)
        name = "answerable" if answerable else "unanswerable"
        print(f"{name:12}" + "".join(f"{chosen[split]:>13}" for split in SPLITS))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the folder with the book's .md files")
    parser.add_argument("--questions", type=Path, default=RUSTBOOK)
    given = parser.parse_args()
    questions = load(given.questions)
    print_counts(questions)
    found = list(problems(questions, given.source))
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(questions)} questions, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

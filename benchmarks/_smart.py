"""Read the Cranfield and CISI collections: documents, questions and which of them fit together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Judgements = dict[int, frozenset[int]]
"""The documents that answer a question, by its number."""
FIELDS = "TAWBXKC"
"""Letters that stand behind a dot, alone in a line, where a field begins (`.I` is a record)."""


@dataclass(frozen=True, slots=True)
class Abstract:
    """A document: an article's title and its abstract, each in one line; either may be empty."""

    id: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents, and questions with the ids of the documents that were judged relevant.

    `listed` are all that the file of judgements names, where these are more.
    """

    name: str
    documents: list[Abstract]
    queries: dict[int, str]
    relevant: Judgements
    listed: Judgements

    @property
    def judged(self) -> list[int]:
        """The questions that have an answer; only these count."""
        return [query for query in self.queries if self.relevant.get(query)]


def cranfield(folder: Path) -> Collection:
    """1,400 abstracts on aerodynamics, which begin with their title, and 225 questions.

    The judgements number the questions by their order, whatever number stands at the question.
    Where they have grades, the last line of each question has -1: "of no interest". This file
    says 1 of every line, so that the last ones are left out of `relevant`, as is customary.
    """
    questions = enumerate(_records(folder / "cran.qry"), 1)
    lines = _judged(folder / "cranqrel.correct", document_column=2)
    return Collection(
        "Cranfield",
        _abstracts(folder / "cran.all.1400"),
        {number: fields["W"] for number, (_, fields) in questions},
        relevant={question: frozenset(found[:-1]) for question, found in lines.items()},
        listed={question: frozenset(found) for question, found in lines.items()},
    )


def cisi(folder: Path) -> Collection:
    """1,460 abstracts on information science and 112 questions, 76 of them judged."""
    lines = _judged(folder / "CISI.REL", document_column=1)
    relevant = {question: frozenset(found) for question, found in lines.items()}
    return Collection(
        "CISI",
        _abstracts(folder / "CISI.ALL"),
        {number: fields["W"] for number, fields in _records(folder / "CISI.QRY")},
        relevant=relevant,
        listed=relevant,
    )


READERS: dict[str, Callable[[Path], Collection]] = {"cranfield": cranfield, "cisi": cisi}


def collections_in(folder: Path) -> list[Collection]:
    """Those of READERS that have a subfolder here; SystemExit without any."""
    found = [read(folder / name) for name, read in READERS.items() if (folder / name).is_dir()]
    if not found:
        raise SystemExit(f"{folder} holds none of the folders {', '.join(READERS)}.")
    return found


def _abstracts(path: Path) -> list[Abstract]:
    return [Abstract(number, fields["T"], fields["W"]) for number, fields in _records(path)]


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and fields of each record of a file in SMART's format."""
    number, fields, letter = 0, defaultdict[str, list[str]](list), ""
    for line in path.read_text("ascii").splitlines():
        if line.startswith(".I "):
            if number:
                yield number, _joined(fields)
            number, fields, letter = int(line.split()[1]), defaultdict(list), ""
        elif len(line.rstrip()) == 2 and line[0] == "." and line[1] in FIELDS:
            letter = line[1]
        else:
            fields[letter].append(line)
    yield number, _joined(fields)


def _joined(fields: Mapping[str, list[str]]) -> dict[str, str]:
    texts = {letter: " ".join(" ".join(lines).split()) for letter, lines in fields.items()}
    return {"T": "", "W": ""} | texts


def _judged(path: Path, *, document_column: int) -> dict[int, list[int]]:
    """The documents of each question, in the order of the lines."""
    found = defaultdict[int, list[int]](list)
    for line in path.read_text("ascii").splitlines():
        row = line.split()
        found[int(row[0])].append(int(row[document_column]))
    return found

"""Fit how answers are chosen and when none is given.

    python scripts/answers/calibrate.py BOOK [--cache FILE]

BOOK is the folder with the sources of The Rust Programming Language, over which the questions in
benchmarks/questions go. Writes answers.json and its card, answers.md, to src/skerry/pipelines/data.
All is chosen on the questions of the development half; the others are only reported.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from _questions import Question, load  # noqa: E402
from card import card  # noqa: E402
from fitting import (  # noqa: E402
    Observation,
    cross_validated,
    fitted,
    gold_of,
    measured,
)
from libraries import (  # noqa: E402
    KeptVectors,
    additions,
    documents_in,
    finder_over,
    kept_vectors,
    until,
)

from skerry.pipelines.judgement import Decision, Judgement, Logistic  # noqa: E402
from skerry.pipelines.stages import Stages  # noqa: E402
from skerry.sql.document_rows import Addition, NewDocument  # noqa: E402

SIZES = (1, 3, 10, 30)
"""Documents of the small collections that the questions are also asked of: in a small one more of
a question's words are missing, and less stands out."""
SEED = 1
OUTPUT = ROOT / "src" / "skerry" / "pipelines" / "data"
NO_JUDGEMENT = Judgement("", Logistic(0.0, {}), *[Decision(0.0, Logistic(0.0, {}))] * 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("book", type=Path)
    parser.add_argument("--cache", type=Path, help="an .npz file to keep vectors in between runs")
    given = parser.parse_args()
    questions = load(source=given.book)
    documents = documents_in(given.book)
    observed = asyncio.run(observe(questions, documents, given.cache))
    publish(observed, documents=len(documents))


async def observe(
    questions: Sequence[Question], new: Sequence[NewDocument], cache: Path | None
) -> list[Observation]:
    """Ask every question of all its collections."""
    with tempfile.TemporaryDirectory(prefix="skerry-calibrate-") as folder:
        async with kept_vectors(Path(folder) / "node", cache) as vectors:
            documents = await additions(new, vectors)
            vectors.keep()
            asked = observations(questions, documents, vectors, folder=Path(folder))
            return [one async for one in asked]


def publish(observed: Sequence[Observation], *, documents: int) -> None:
    """Fit on the development half, measure on both, write the data and its card."""
    development = [one for one in observed if one.question.split == "development"]
    judgement = fitted(development)
    rows = {
        f"development, {size} file{'s' * (size > 1)}": measured(
            of_size(development, size), judgement
        )
        for size in SIZES
    }
    rows["development, the whole book"] = measured(of_size(development, documents), judgement)
    rows["the same, cross-validated"] = cross_validated(development, whole=documents)
    test = [one for one in observed if one.question.split == "test"]
    rows["**test, the whole book**"] = measured(test, judgement)
    rows["test, another embedding model"] = measured(test, judgement, embedding="another")
    kinds = declined_by_kind(test, judgement)
    OUTPUT.mkdir(exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(judgement)) + b"\n"
    (OUTPUT / "answers.json").write_bytes(data)
    text = card(judgement, rows, kinds, documents=documents, sizes=SIZES)
    (OUTPUT / "answers.md").write_text(text, "utf-8")
    print(text)


async def observations(
    questions: Sequence[Question],
    documents: Mapping[str, Addition],
    vectors: KeptVectors,
    *,
    folder: Path,
) -> AsyncIterator[Observation]:
    """Every question of the whole collection; those of development of smaller ones too."""
    chance = random.Random(SEED)
    names = list(documents)
    development = [one for one in questions if one.split == "development"]
    for size in (*SIZES, len(names)):
        asked = questions if size == len(names) else development
        chance.shuffle(names)
        groups = [names[start : start + size] for start in range(0, len(names), size)]
        for number, (group, some) in enumerate(shared_out(asked, groups, chance)):
            place = folder / f"{size}-{number}"
            place.mkdir()
            held = [documents[name] for name in group]
            async with finder_over(held, vectors, folder=place, judgement=NO_JUDGEMENT) as finder:
                for question in some:
                    found = await finder.look(question.question, deadline=until(), stages=Stages())
                    assert found is not None
                    gold = gold_of(question, found.reading)
                    yield Observation(question, size, found.reading, gold)
        print(f"asked of collections of {size}", file=sys.stderr, flush=True)


def shared_out(
    questions: Sequence[Question], groups: Sequence[list[str]], chance: random.Random
) -> list[tuple[list[str], list[Question]]]:
    """Each answerable question goes to the group that holds its document, others to any."""
    shares: dict[int, list[Question]] = defaultdict(list)
    for question in questions:
        of_file = (n for n, group in enumerate(groups) if question.file in group)
        at = next(of_file, None) if question.answerable else chance.randrange(len(groups))
        if at is None:
            raise SystemExit(f"{question.file} is not in the folder of the book.")
        shares[at].append(question)
    return [(groups[at], some) for at, some in shares.items()]


def of_size(observed: Sequence[Observation], size: int) -> list[Observation]:
    return [one for one in observed if one.documents == size]


def declined_by_kind(
    observed: Sequence[Observation], judgement: Judgement
) -> dict[str, tuple[int, int]]:
    """Of the unanswerable questions of each kind, how many are declined, and how many there are."""
    counts: dict[str, tuple[int, int]] = {}
    for one in observed:
        if not one.question.answerable:
            kind = one.question.id.rsplit("-", 1)[0]
            decision = judgement.by_meaning
            declined = decision.chance(one.reading.overall) < decision.threshold
            before, total = counts.get(kind, (0, 0))
            counts[kind] = (before + declined, total + 1)
    return counts


if __name__ == "__main__":
    main()

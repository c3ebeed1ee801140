"""Fit how answers are chosen and when none is given.

    python scripts/answers/calibrate.py BOOK [--cache FILE]

BOOK is the folder with the sources of The Rust Programming Language, over which the questions in
benchmarks/questions go. Writes answers.json and its card, answers.md, to src/skerry/pipelines/data.
All is chosen on the questions of the development half; the others, and those over docs/adr, are
only reported.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from _questions import DECISIONS, Question, load  # noqa: E402
from card import card  # noqa: E402
from fitting import (  # noqa: E402
    ANOTHER_MODEL,
    Observation,
    Outcome,
    fitted,
    gold_of,
    left_out,
    measured,
    outcome,
)
from libraries import (  # noqa: E402
    KeptVectors,
    additions,
    documents_in,
    finder_over,
    kept_vectors,
    until,
)

from skerry.models.catalogue import DEFAULT_EMBEDDING_MODEL  # noqa: E402
from skerry.pipelines.answers.findings import Finder  # noqa: E402
from skerry.pipelines.answers.reading import Skimmed, beginning  # noqa: E402
from skerry.pipelines.stages import Stages  # noqa: E402
from skerry.pipelines.texts.embed import PASSAGE, QUERY  # noqa: E402
from skerry.sql.document_rows import Addition, NewDocument  # noqa: E402

SIZES = (1, 3, 10, 30)
"""Documents of the small collections that the questions are also asked of: in a small one more of
a question's words are missing, and less stands out."""
CURVE = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Thresholds whose trade-off the card shows."""
SEED = 1
ADR = ROOT / "docs" / "adr"
OUTPUT = ROOT / "src" / "skerry" / "pipelines" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("book", type=Path)
    parser.add_argument("--cache", type=Path, help="an .npz file to keep vectors in between runs")
    given = parser.parse_args()
    questions = load(source=given.book)
    documents = documents_in(given.book)
    observed = asyncio.run(observe(questions, documents, given.cache, sizes=SIZES))
    elsewhere = asyncio.run(observe(load(DECISIONS), documents_in(ADR), given.cache))
    publish(observed, elsewhere, documents=len(documents))


async def observe(
    questions: Sequence[Question],
    new: Sequence[NewDocument],
    cache: Path | None,
    *,
    sizes: Sequence[int] = (),
) -> list[Observation]:
    """Ask every question of the whole collection; those of development of smaller ones too."""
    with tempfile.TemporaryDirectory(prefix="skerry-calibrate-") as folder:
        async with kept_vectors(Path(folder) / "node", cache) as vectors:
            documents = await additions(new, vectors)
            vectors.keep()
            asked = observations(questions, documents, vectors, folder=Path(folder), sizes=sizes)
            return [one async for one in asked]


def publish(
    observed: Sequence[Observation], elsewhere: Sequence[Observation], *, documents: int
) -> None:
    """Fit on the development half, measure on all, write the data and its card."""
    development = [one for one in observed if one.question.split == "development"]
    judgement = fitted(development, whole=documents)
    rows = {
        f"development, {size} file{'s' * (size > 1)}": [
            outcome(one, judgement) for one in of_size(development, size)
        ]
        for size in SIZES
    }
    whole = of_size(development, documents)
    rows["development, the whole book"] = [outcome(one, judgement) for one in whole]
    held_out = left_out(development, whole=documents)
    threshold = judgement.by_meaning.threshold
    held_out = [replace(one, threshold=threshold) for one in held_out]
    rows["the same, cross-validated"] = held_out
    test = [one for one in observed if one.question.split == "test"]
    rows["**test, the whole book**"] = tested = [outcome(one, judgement) for one in test]
    rows["test, another embedding model"] = [
        outcome(one, judgement, embedding=ANOTHER_MODEL) for one in test
    ]
    rows["**other documents: docs/adr**"] = [outcome(one, judgement) for one in elsewhere]
    OUTPUT.mkdir(exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(judgement)) + b"\n"
    (OUTPUT / "answers.json").write_bytes(data)
    text = card(
        judgement,
        {name: measured(outcomes) for name, outcomes in rows.items()},
        curve={at: measured([replace(one, threshold=at) for one in held_out]) for at in CURVE},
        kinds=declined_by_kind(tested),
        documents=documents,
        sizes=SIZES,
    )
    (OUTPUT / "answers.md").write_text(text, "utf-8")
    print(text)


async def observations(
    questions: Sequence[Question],
    documents: Mapping[str, Addition],
    vectors: KeptVectors,
    *,
    folder: Path,
    sizes: Sequence[int],
) -> AsyncIterator[Observation]:
    """Every question of the whole collection, those of development also of parts of `sizes`."""
    chance = random.Random(SEED)
    names = list(documents)
    development = [one for one in questions if one.split == "development"]
    for size in (*sizes, len(names)):
        asked = questions if size == len(names) else development
        chance.shuffle(names)
        groups = [names[start : start + size] for start in range(0, len(names), size)]
        for number, (group, some) in enumerate(shared_out(asked, groups, chance)):
            place = folder / f"{size}-{number}"
            place.mkdir()
            held = [documents[name] for name in group]
            async with finder_over(held, vectors, folder=place) as finder:
                for question in some:
                    found = await finder.skim(question.question, deadline=until(), stages=Stages())
                    assert found is not None
                    cosines = await cosines_to(question.question, found, finder)
                    gold = gold_of(question, found)
                    yield Observation(question, size, found, cosines, gold)
        print(f"asked of collections of {size}", file=sys.stderr, flush=True)


async def cosines_to(question: str, skimmed: Skimmed, finder: Finder) -> NDArray[np.float32]:
    """Those of all sentences: which of them a node would read is still to be learnt."""
    options: dict[str, Any] = {
        "model": DEFAULT_EMBEDDING_MODEL,
        "deadline": until(),
        "stages": Stages(),
    }
    texts = [beginning(sentence) for sentence in skimmed.sentences]
    vectors = await finder.embedded(texts, use=PASSAGE, **options)
    asked = await finder.embedded([question], use=QUERY, **options)
    cosines: NDArray[np.float32] = vectors @ asked[0]
    return cosines


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


def declined_by_kind(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Of the unanswerable questions of each kind, how many are declined, and how many there are."""
    counts: dict[str, tuple[int, int]] = {}
    for one in outcomes:
        question = one.observation.question
        if not question.answerable:
            kind = question.id.rsplit("-", 1)[0]
            before, total = counts.get(kind, (0, 0))
            counts[kind] = (before + (not one.answered), total + 1)
    return counts


if __name__ == "__main__":
    main()

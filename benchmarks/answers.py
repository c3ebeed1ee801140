"""How many questions on a book are answered rightly, and how many declined, with it and without?"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from _processes import MODELS, start_node, stopped_after
from _questions import SPLITS, Question, contains_gold, load
from _report import Cell, Claim, Report, Table, publish

from skerry.client import Client, connect
from skerry.models.catalogue import DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDING_MODEL

BOOK = Path("rustbook") / "src"
PATIENCE_S = 600.0
MAX_TOKENS = 100
GENERATED = 24
GAIN, MADE_UP, LATENCY = 94.0 - 72.0, 3.0, 14.0
"""What the guide tells of its own system, in percent."""

Ask = Callable[[str], tuple[str | None, float]]
"""The answer to a question, None when it is declined, and the milliseconds before it was begun."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its answer, None when it was declined, and how long both parts took."""

    question: Question
    answer: str | None
    ms: float
    before_ms: float
    """Of these, retrieval: until it was known what to quote or to read."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder that holds {BOOK}")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument(
        "--generate", type=int, metavar="N", default=GENERATED,
        help=f"questions for the language model, which takes seconds for each; {GENERATED}",
    )  # fmt: skip
    parser.add_argument("--store", type=Path, help="a node's data, kept: the book is added once")
    given = parser.parse_args()
    book = given.data / BOOK
    questions = [one for one in load(source=book) if one.split == given.split]
    models = [DEFAULT_EMBEDDING_MODEL, DEFAULT_CHAT_MODEL]
    command = [sys.executable, "-m", "skerry", "models", "pull", *models]
    subprocess.run(command, env=os.environ | {"SKERRY_MODELS": str(MODELS)}, check=True)
    with tempfile.TemporaryDirectory(prefix="skerry-answers-") as folder:
        data = given.store or Path(folder) / "data"
        runs = measure(data, book, questions, generated=given.generate)
    publish(report(runs, split=given.split))


def measure(
    data: Path, book: Path, questions: Sequence[Question], *, generated: int
) -> dict[str, list[Asked]]:
    """Every question quoted; some of each sort generated, with the book and without it."""
    settings = {
        "models_embedding": DEFAULT_EMBEDDING_MODEL,
        "models_chat": DEFAULT_CHAT_MODEL,
        "models_keep_alive_s": 0,
    }
    node = start_node(data, **settings)
    with stopped_after([node]), connect(node.url, timeout_s=PATIENCE_S) as client:
        store(client, book)
        client.ask(questions[0].question)  # loads the model
        runs = {"quoted": list(asked(questions, quoting(client)))}
        some = spread(questions, generated)
        if some:
            client.ask(some[0].question, mode="generate")
            runs["generated from the book"] = list(asked(some, generating(client)))
            runs["generated without it"] = list(asked(some, generating_alone(node.url)))
    return runs


def store(client: Client, book: Path) -> None:
    """Add the book's files, as a person drops a folder on the node."""
    texts = {str(path.relative_to(book)): path.read_text("utf-8") for path in book.rglob("*.md")}
    documents = [{"id": name, "text": text} for name, text in texts.items() if text.strip()]
    began = time.perf_counter()
    added = list(client.documents.add(documents))
    if failed := [one.id for one in added if one.status == "failed"]:
        raise SystemExit(f"Not stored: {', '.join(failed)}")
    print(f"  {len(added)} documents in {time.perf_counter() - began:.0f} s", flush=True)


def quoting(client: Client) -> Ask:
    def ask(question: str) -> tuple[str | None, float]:
        found = client.ask(question, mode="extract")
        return found.answer, found.total_time_ms

    return ask


def generating(client: Client) -> Ask:
    def ask(question: str) -> tuple[str | None, float]:
        found = client.ask(question, mode="generate", explain=True)
        timings = (found.explain or {})["timings"]
        return found.answer, found.total_time_ms - timings.get("generate", 0.0)

    return ask


def generating_alone(url: str) -> Ask:
    http = httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False)

    def ask(question: str) -> tuple[str | None, float]:
        body = {"prompt": question, "max_tokens": MAX_TOKENS}
        answer: Any = http.post("/generate", json=body).raise_for_status().json()
        return answer["generated_text"].removeprefix(question), 0.0

    return ask


def asked(questions: Sequence[Question], ask: Ask) -> Iterator[Asked]:
    """Each question with its answer and what it took."""
    for question in questions:
        began = time.perf_counter()
        answer, before_ms = ask(question.question)
        yield Asked(question, answer, 1e3 * (time.perf_counter() - began), before_ms)


def spread(questions: Sequence[Question], count: int) -> list[Question]:
    """About `count` of them from all over, answerable and other ones as they are in the whole."""
    step = max(1, len(questions) // max(1, count))
    return list(questions[::step])[:count]


def right(run: Sequence[Asked]) -> float:
    """Percent of the answerable questions whose answer holds the gold span."""
    return _percent(
        [
            one.answer is not None and contains_gold(one.answer, one.question)
            for one in run
            if one.question.answerable
        ]
    )


def declined(run: Sequence[Asked], *, answerable: bool) -> float:
    """Percent of the questions of this sort."""
    return _percent([one.answer is None for one in run if one.question.answerable is answerable])


def report(runs: dict[str, list[Asked]], *, split: str) -> Report:
    quoted = runs["quoted"]
    with_book, without = runs.get("generated from the book"), runs.get("generated without it")
    result = Report(
        name="answers",
        title="Answers from documents",
        question="How many questions are answered rightly, and how many are declined?",
        tables=[
            Table(
                f"Questions over the Rust book, {split} half, in percent",
                [
                    "", "questions", "right", "answerable declined", "unanswerable",
                    "unanswerable declined", "p50 ms", "of these before the answer",
                ],
                [_row(name, run) for name, run in runs.items()],
            ),
            Table(
                "Unanswerable questions declined, by kind (quoted)",
                ["kind", "questions", "declined"],
                [
                    [kind, len(run), declined(run, answerable=False)]
                    for kind, run in by_kind(quoted).items()
                ],
            ),
        ],
        notes=[
            "Right: the answer holds the gold span word for word (`_questions.contains_gold`); "
            "an answer in other words, or another sentence that answers too, does not count.",
            "Declining is learnt on the development half; see skerry/pipelines/data/answers.md.",
            "The guide tells of its own system, on questions it does not show: accuracy 72 to "
            "94%, made up 18 to 3%, latency +14%.",
        ],
    )  # fmt: skip
    if with_book and without:
        same = {one.question.id for one in without}
        gained = right([one for one in quoted if one.question.id in same]) - right(without)
        before = median(one.before_ms for one in with_book if one.answer is not None)
        alone = median(one.ms for one in without)
        result.claims = [
            Claim(f"Right answers that quoting gains on the model alone, of {len(same)} questions",
                  gained, GAIN, "%"),
            Claim("Unanswerable questions answered all the same",
                  100 - declined(quoted, answerable=False), MADE_UP, "%", at_most=True),
            Claim("Time that retrieval adds to the model's own", 100 * before / alone,
                  LATENCY, "%", at_most=True),
        ]  # fmt: skip
    return result


def by_kind(run: Sequence[Asked]) -> dict[str, list[Asked]]:
    """The unanswerable ones."""
    kinds: dict[str, list[Asked]] = {}
    for one in run:
        if not one.question.answerable:
            kinds.setdefault(one.question.id.rsplit("-", 1)[0], []).append(one)
    return kinds


def _row(name: str, run: Sequence[Asked]) -> list[Cell]:
    answered = [one for one in run if one.answer is not None]
    return [
        name,
        sum(one.question.answerable for one in run),
        right(run),
        declined(run, answerable=True),
        sum(not one.question.answerable for one in run),
        declined(run, answerable=False),
        median(one.ms for one in answered),
        median(one.before_ms for one in answered),
    ]


def _percent(truths: Sequence[bool]) -> float:
    return 100 * sum(truths) / max(1, len(truths))


if __name__ == "__main__":
    main()

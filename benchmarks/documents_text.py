"""How much of the embedding engine's rate is left when texts become documents?"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from _photos import WORK
from _processes import HERE, Service, pull_models, spawn, start_node, stopped_after
from _report import Cell, Claim, Report, Table, publish
from _store import Uploads, documents
from _texts import texts_of, words
from embeddings import pulled

from skerry.media.tokens import Tokens
from skerry.models.folder import ModelFolder
from skerry.models.manifest import EmbeddingManifest, of_task

LENGTHS = (60, 150)
"""Tokens of a document: each is one chunk."""
TEXTS, BATCH, WRITERS = 200, 100, 2
TARGET = 0.8


@dataclass(slots=True)
class Rates:
    """Texts a second in each round, by themselves and as documents over HTTP."""

    engine: list[float] = field(default_factory=list)
    node: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The median over the rounds of the node's share."""
        return median(ours / bare for ours, bare in zip(self.node, self.engine, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of the engine's turn")
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.rounds, arguments.seconds = 1, 2
    pull_models()
    folder = pulled()
    sets = text_sets(folder)
    with tempfile.TemporaryDirectory(prefix="documents-text-", dir=WORK) as name:
        data = Path(name) / "data"
        node = start_node(data, models_embedding=folder.name)
        with stopped_after([node]):
            rates, model = measure(node, folder, sets, arguments, Path(name))
    publish(report(rates, model))


def text_sets(folder: Path) -> dict[str, list[str]]:
    """Texts of each length, none twice."""
    model = of_task(ModelFolder(folder.parent).get(folder.name), EmbeddingManifest)
    text = model.manifest.text
    tokens = Tokens(model.path(text.tokenizer), max_tokens=text.max_tokens)
    running = words()
    return {
        str(length): texts_of(tokens, running, length=length, count=TEXTS) for length in LENGTHS
    }


def measure(
    node: Service,
    folder: Path,
    sets: dict[str, list[str]],
    arguments: argparse.Namespace,
    scratch: Path,
) -> tuple[dict[str, Rates], str]:
    """The engine and the node by turns, on the same texts and in the same precision."""
    numbers = count()
    stored(node, next(iter(sets.values()))[:BATCH], numbers)  # loads the model
    model = embedding_model(node)
    listed = scratch / "texts.json"
    listed.write_text(json.dumps(sets))
    child = start_engine(f"skerry/{model['engine']}/{model['precision']}", listed, folder)
    rates = {name: Rates() for name in sets}
    with stopped_after([child]):
        for _ in range(arguments.rounds):
            for name, texts in sets.items():
                node.pause()
                rates[name].engine.append(engine_rate(child, name, seconds=arguments.seconds))
                node.resume()
                child.pause()
                rates[name].node.append(stored(node, texts, numbers))
                child.resume()
                print(
                    f"  {name} tokens: engine {rates[name].engine[-1]:.0f}/s, "
                    f"documents {rates[name].node[-1]:.0f}/s",
                    flush=True,
                )
    return rates, f"{model['name']} in {model['precision']} by {model['engine']}"


def embedding_model(node: Service) -> dict[str, Any]:
    """What the node says of the model that it embeds with."""
    models: list[dict[str, Any]] = node.get("/api/status")["models"]
    return next(model for model in models if model["task"] == "text-embedding")


def start_engine(kind: str, texts: Path, folder: Path) -> Service:
    """The embedder by itself, loaded."""
    program = str(HERE / "_embedding_child.py")
    log = WORK / "logs" / "documents-engine.log"
    child = spawn("engine", [program, kind, str(texts), str(folder)], log=log)
    _told(child)
    return child


def engine_rate(child: Service, name: str, *, seconds: float) -> float:
    """Texts a second in calls of BATCH."""
    assert child.process.stdin is not None
    asked = {"set": name, "batch": BATCH, "seconds": seconds}
    child.process.stdin.write(json.dumps(asked) + "\n")
    child.process.stdin.flush()
    told = _told(child)
    return float(told["texts"] / sum(told["took"]))


def stored(node: Service, texts: Sequence[str], numbers: Iterator[int]) -> float:
    """Documents a second, acknowledged, each new to the node."""
    given = [{"id": f"text-{next(numbers)}", "text": text} for text in texts]
    batches = [given[at : at + BATCH] for at in range(0, len(given), BATCH)]
    began = time.perf_counter()
    Uploads(node.url, documents(batches)).run(clients=WRITERS)
    return len(given) / (time.perf_counter() - began)


def _told(child: Service) -> dict[str, Any]:
    assert child.process.stdout is not None
    line = child.process.stdout.readline()
    if not line:
        raise SystemExit(f"The engine ended; see its log in {WORK / 'logs'}")
    told: dict[str, Any] = json.loads(line)
    return told


def report(rates: dict[str, Rates], model: str) -> Report:
    """The shares first."""
    rows: list[list[Cell]] = [
        [f"{name} tokens", 100 * one.share, median(one.node), median(one.engine)]
        for name, one in rates.items()
    ]
    longest = str(LENGTHS[-1])
    return Report(
        name="documents_text",
        title="Documents from text",
        question="How much of the embedding engine's rate is left when texts become documents?",
        claims=[
            Claim(f"Share of the engine's rate, texts of {longest} tokens",
                  100 * rates[longest].share, 100 * TARGET, "%"),
        ],
        tables=[Table("Documents stored over HTTP, beside the engine on the same texts",
                      ["", "share, %", "documents/s", "engine, texts/s"], rows)],
        notes=[
            f"{model}; {BATCH} texts a call, {WRITERS} writers. The "
            "engine's row tokenises and embeds in one process; the node also parses, cuts, names "
            "terms, and stores rows, terms, vectors and log in synced transactions.",
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""Use a node as a shop would, for as long as you let it: no 5xx, and nothing that grows.

Run from the repository's root: `python tests/proofs/soak.py --minutes 60`. What is stored keeps its
size, so memory, open files, threads and the database have to keep theirs: the last third of the
run is held against the third before it. Exit code 1 when something grew or was answered wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pictures import jpeg
from running_node import RunningNode, pulled_models, start_node, wait_for_texts

SAMPLE_S = 5.0
KEPT = 60
"""Images and documents that are stored at any time."""
KEEP_ALIVE_S = 20.0
"""Short, so that models are unloaded and loaded again all the time."""
GROWTH_MB = 16.0
"""Of a process between two thirds of a run; an allocator plays by half of it."""
GROWTH_FILES = 8
PATIENCE_S = 300.0
"""A language model that is loaded anew on a busy machine needs a minute."""
JUDGED_MINUTES = 3.0
"""A shorter run only warms up: its growth says nothing."""
WORDS = ("pump", "valve", "shelf", "freezer", "till", "invoice", "belt", "motor", "alarm", "door")

Visit = Callable[[httpx.AsyncClient], Awaitable[httpx.Response | None]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What the node and its processes held at one moment; of several of a kind, the largest."""

    at_s: float
    memory_mb: dict[str, float]
    files: int
    threads: int
    database_mb: float


@dataclass
class Soak:
    """One run: what was sent, what came back, what was held."""

    node: RunningNode
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def judge_answer(self, name: str, answer: httpx.Response | None) -> None:
        """Count it; a 5xx is a violation unless it says when to come back."""
        if answer is None:
            self.counts[f"{name}: left early"] += 1
            return
        self.counts[f"{name}: {answer.status_code}"] += 1
        refused = answer.status_code == 503 and "retry-after" in answer.headers
        if answer.status_code >= 400 and not refused:
            self.violations.append(f"{name}: {answer.status_code} {answer.text[:300]}")

    def sample(self, at_s: float) -> None:
        """Look at the processes and the database."""
        parent = psutil.Process(self.node.process.pid)
        held: dict[str, float] = {}
        files = threads = 0
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                kind = process.cmdline()[-1] if process != parent else "node"
                held[kind] = max(held.get(kind, 0.0), process.memory_info().rss / 1e6)
                files += process.num_fds()
                threads += process.num_threads()
        database = sum(file.stat().st_size for file in self.node.data.glob("skerry.db*"))
        self.samples.append(Sample(at_s, held, files, threads, database / 1e6))

    def judge_growth(self) -> dict[str, float]:
        """What grew from the middle third to the last, by name; too much is a violation."""
        third = len(self.samples) // 3
        middle, last = self.samples[third : 2 * third], self.samples[2 * third :]
        kinds = set.intersection(*(set(sample.memory_mb) for sample in middle + last))
        grown = {f"{kind}, MB": _grown(middle, last, lambda s, k=kind: s.memory_mb[k])
                 for kind in sorted(kinds)}  # fmt: skip
        grown["database, MB"] = _grown(middle, last, lambda s: s.database_mb)
        grown["files"] = _grown(middle, last, lambda s: s.files)
        grown["threads"] = _grown(middle, last, lambda s: s.threads)
        for name, growth in grown.items():
            if growth > (GROWTH_MB if name.endswith("MB") else GROWTH_FILES):
                self.violations.append(f"{name} grew by {growth:.1f}")
        return grown

    def judge_log(self) -> None:
        """A traceback in the log is a violation."""
        if "Traceback" in (text := self.node.log.read_text("utf-8", "replace")):
            self.violations.append(text[text.index("Traceback") :][:2000])


def _grown(
    middle: list[Sample], last: list[Sample], figure: Callable[[Sample], float]
) -> float:  # fmt: skip
    # The least: a model that is loaded and unloaded swings above it.
    return round(min(map(figure, last)) - min(map(figure, middle)), 1)


async def recognize(http: httpx.AsyncClient) -> httpx.Response:
    """A photo that was never seen, or one that was."""
    photo = jpeg(size=(640, 480), seed=random.choice([None, 1, 2, 3]))
    return await http.post("/api/recognize", content=photo)


class Images:
    """Stores photos, and deletes the oldest beyond `KEPT`."""

    def __init__(self) -> None:
        self._stored: list[int] = []

    async def __call__(self, http: httpx.AsyncClient) -> httpx.Response:
        """One stored, one deleted."""
        answer = await http.post("/api/images", files={"file": ("a.jpg", jpeg(size=(320, 240)))})
        self._stored += [one["id"] for one in answer.json().get("images", []) if "id" in one]
        if len(self._stored) > KEPT:
            await http.delete(f"/api/images/{self._stored.pop(0)}")
        return answer


class Documents:
    """Replaces documents of `KEPT` ids by others, again and again."""

    def __init__(self) -> None:
        self._numbers = itertools.cycle(range(KEPT))

    async def __call__(self, http: httpx.AsyncClient) -> httpx.Response:
        """One replaced."""
        text = " ".join(random.choices(WORDS, k=300)) + "."
        return await http.post(
            "/api/documents", json={"id": f"d{next(self._numbers)}", "text": text}
        )


async def search(http: httpx.AsyncClient) -> httpx.Response:
    """A few words."""
    return await http.post("/api/search", json={"query": " ".join(random.choices(WORDS, k=3))})


async def ask(http: httpx.AsyncClient) -> httpx.Response:
    """A question."""
    return await http.post("/api/ask", json={"question": f"Where is the {random.choice(WORDS)}?"})


async def embed(http: httpx.AsyncClient) -> httpx.Response:
    """Texts of many lengths."""
    texts = [" ".join(random.choices(WORDS, k=random.randint(1, 150))) for _ in range(4)]
    return await http.post("/v1/embeddings", json={"model": "all-minilm-l6-v2", "input": texts})


async def classify(http: httpx.AsyncClient) -> httpx.Response:
    """A sentence."""
    return await http.post("/api/classify", json={"text": f"I like the {random.choice(WORDS)}."})


async def chat(http: httpx.AsyncClient) -> httpx.Response | None:
    """A streamed answer, which every other caller leaves in the middle."""
    ask = {"messages": [{"role": "user", "content": "Say something."}], "max_tokens": 24}
    ask |= {"model": "smollm2-135m-instruct", "stream": True}
    leaves = random.random() < 0.5
    async with http.stream("POST", "/v1/chat/completions", json=ask) as answer:
        async for _ in answer.aiter_lines():
            if leaves:
                return None
    return answer


async def status(http: httpx.AsyncClient) -> httpx.Response:
    """What Prometheus asks for."""
    return await http.get("/metrics")


def visits() -> dict[str, tuple[Visit, float]]:
    """What is done, and how many seconds on average between two of it."""
    return {
        "recognize": (recognize, 0.5),
        "images": (Images(), 0.7),
        "documents": (Documents(), 0.7),
        "search": (search, 0.5),
        "ask": (ask, 2.0),
        "embed": (embed, 1.0),
        "classify": (classify, 30.0),  # Rarer than it is kept: loaded anew each time.
        "chat": (chat, 30.0),
        "status": (status, 5.0),
    }


async def visit(soak: Soak, http: httpx.AsyncClient, name: str, *, end: float) -> None:
    """One kind of visitor, until the end."""
    act, pause_s = visits()[name]
    while time.monotonic() < end:
        try:
            soak.judge_answer(name, await act(http))
        except httpx.HTTPError as error:
            soak.violations.append(f"{name}: no answer: {error!r}")
        await asyncio.sleep(random.expovariate(1 / pause_s))


async def soaked(soak: Soak, *, seconds: float) -> None:
    """All visitors side by side, and somebody who takes notes."""
    began = time.monotonic()
    async with (
        httpx.AsyncClient(base_url=soak.node.url, timeout=PATIENCE_S, trust_env=False) as http,
        asyncio.TaskGroup() as group,
    ):
        for name in visits():
            group.create_task(visit(soak, http, name, end=began + seconds))
        async for at_s in ticks(began, seconds=seconds):
            soak.sample(at_s)
            if len(soak.samples) % 12 == 0:
                print(soak.samples[-1], flush=True)


async def ticks(began: float, *, seconds: float) -> AsyncIterator[float]:
    """Every few seconds, how many have passed."""
    while (at_s := time.monotonic() - began) < seconds:
        yield at_s
        await asyncio.sleep(SAMPLE_S)


def main() -> int:
    """Soak a node; 1 when anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    folder = Path(tempfile.mkdtemp(prefix="skerry-soak-"))
    texts = {"EMBEDDING": "all-minilm-l6-v2", "CLASSIFIER": "minilm-sentiment",
             "CHAT": "smollm2-135m-instruct", "KEEP_ALIVE_S": str(KEEP_ALIVE_S)}  # fmt: skip
    environ = {f"SKERRY_MODELS_{name}": value for name, value in texts.items()}
    # Full within a minute: what grows after that is no cache.
    environ["SKERRY_CACHE_MAX_BYTES"] = "1000000"
    soak = Soak(start_node(folder / "data", models=pulled_models(), environ=environ))
    try:
        wait_for_texts(soak.node)
        asyncio.run(soaked(soak, seconds=60 * minutes))
        grown = soak.judge_growth() if minutes >= JUDGED_MINUTES else {}
        soak.judge_log()
    finally:
        soak.node.stop()
    report = {"minutes": minutes, **dict(sorted(soak.counts.items())), "grown": grown}
    print(json.dumps({**report, "violations": soak.violations[:20]}, indent=1))
    if soak.violations:
        print(f"The data folder is kept: {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Documents {id, text, category, timestamp} of a few words, and an almost free model of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from _random_bert import SPECIAL, Shape, install
from _texts import words
from numpy.typing import NDArray

from skerry.models.store import ModelStore

TEXT_WORDS, QUERY_WORDS = 20, 6
KNOWN_WORDS = 4000
TOPICS, TOPIC_WORDS, TOPIC_SHARE = 500, 40, 0.6
"""A text takes so many of its words from one topic, as texts do; the rest by their frequency."""
CATEGORIES = 10
FIRST_TIMESTAMP = 1_700_000_000
EVERY = (2, 10, 100, 1000)
"""Metadata of each document say, for each of these, whether it is one of every n."""


@dataclass(slots=True)
class Collection:
    """Texts by their number, the same on each run of one version of Python."""

    known: list[str] = field(init=False)
    _shares: NDArray[np.float64] = field(init=False)
    _topics: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        found = Counter(re.findall(r"[a-z]+", " ".join(words()).lower()))
        common = found.most_common(KNOWN_WORDS)
        counts = np.array([count for _, count in common], np.float64)
        self.known = [word for word, _ in common]
        self._shares = np.cumsum(counts / counts.sum())
        chance = np.random.default_rng(5)
        self._topics = chance.integers(50, len(self.known), (TOPICS, TOPIC_WORDS))

    def batches(self, start: int, stop: int, *, size: int) -> Iterator[list[dict[str, Any]]]:
        """The documents `start` to `stop`, in lists of `size`."""
        for at in range(start, stop, size):
            texts = self._texts(at, min(size, stop - at), length=TEXT_WORDS)
            yield [document(at + number, text) for number, text in enumerate(texts)]

    def queries(self, count: int) -> list[str]:
        """Shorter texts of the same topics."""
        return self._texts(1 << 40, count, length=QUERY_WORDS)

    def _texts(self, first: int, count: int, *, length: int) -> list[str]:
        chance = np.random.default_rng((7, first))
        chosen = np.searchsorted(self._shares, chance.random((count, length)))
        topics = self._topics[chance.integers(0, TOPICS, count)]
        of_topic = np.take_along_axis(topics, chance.integers(0, TOPIC_WORDS, chosen.shape), 1)
        picked = np.where(chance.random(chosen.shape) < TOPIC_SHARE, of_topic, chosen)
        picked = np.minimum(picked, len(self.known) - 1)
        return [" ".join(self.known[at] for at in row) for row in picked]


def document(number: int, text: str) -> dict[str, Any]:
    """As the guide's engine indexes them, and with metadata of known selectivity."""
    return {
        "id": f"doc-{number}",
        "text": text,
        "category": f"category {number % CATEGORIES}",
        "timestamp": FIRST_TIMESTAMP + number,
        "metadata": {f"every{every}": number % every for every in EVERY},
    }


def install_one_layer(store: ModelStore, collection: Collection, *, hidden: int) -> str:
    """A model of one narrow layer that knows each word, so that embedding is nearly free."""
    name = f"one-layer-{hidden}"
    shape = Shape(1, hidden, 64, hidden // 64, [*SPECIAL, *collection.known], positions=128)
    install(store, name, shape)
    return name

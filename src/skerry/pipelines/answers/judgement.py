"""Weigh what speaks for a sentence, and for there being an answer, as a script found it best."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec
import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]


class Weight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one standard deviation more of a feature than its mean adds."""

    mean: float
    deviation: float
    weight: float


class Logistic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A logistic regression over features by name."""

    bias: float
    weights: dict[str, Weight]

    def chance(self, features: Mapping[str, Features]) -> Features:
        """0…1 for each element of the features, which are float64 of one shape.

        Features it has no weight for do not count.
        """
        chance: Features = 1 / (1 + np.exp(-self.log_odds(features)))
        return chance

    def log_odds(self, features: Mapping[str, Features]) -> Features:
        """Logarithm of the odds for each element; 0 is a chance of one half."""
        # Features have one shape, which a bias alone has to be given.
        total: Features = np.full_like(next(iter(features.values())), self.bias)
        for name, one in self.weights.items():
            total = total + one.weight * (features[name] - one.mean) / one.deviation
        return total


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the documents answer a question: not when that is less likely than `threshold`."""

    threshold: float
    chances: Logistic

    def chance(self, features: Mapping[str, float]) -> float:
        """0…1."""
        return float(self.chances.chance({name: np.asarray(f) for name, f in features.items()}))


class Judgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How sentences are chosen, and when none is.

    `worth` says which sentences to read, and `sentence` which of these hold the answer.
    `by_meaning` holds for the cosines of `embedding` alone; with another embedding model
    `by_words` decides.
    """

    embedding: str
    worth: Logistic
    sentence: Logistic
    by_meaning: Decision
    by_words: Decision

    def decision(self, embedding: str) -> Decision:
        """The one that holds for this embedding model."""
        return self.by_meaning if embedding == self.embedding else self.by_words


@cache
def shipped_judgement() -> Judgement:
    """What `scripts/answers/calibrate.py` wrote; `data/answers.md` is its card."""
    data = resources.files("skerry.pipelines").joinpath("data", "answers.json").read_bytes()
    return msgspec.json.decode(data, type=Judgement)

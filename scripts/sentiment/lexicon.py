"""VADER's lexicon and rules (Hutto & Gilbert 2014, package `vaderSentiment`) on the same texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from measures import labels_of
from numpy.typing import NDArray
from texts import LABELS, Text
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

PUBLISHED = 0.05
"""Its authors: positive from 0.05, negative from -0.05, neutral between."""
LIMITS = np.linspace(0.02, 0.6, 59)


def compound(texts: Sequence[Text]) -> NDArray[np.float64]:
    """Its score (n,) from -1 to 1."""
    analyzer = SentimentIntensityAnalyzer()
    return np.array([analyzer.polarity_scores(text.text)["compound"] for text in texts])


def chances(scores: NDArray[np.float64], *, limit: float) -> NDArray[np.float64]:
    """The class of each score, as probabilities of zero and one."""
    said = np.where(scores >= limit, 0, np.where(scores <= -limit, 1, 2))
    return np.eye(len(LABELS))[said]


def best_limit(texts: Sequence[Text], scores: NDArray[np.float64]) -> float:
    """The limit that is right most often, for a comparison that does it no wrong."""
    is_class = labels_of(texts)
    return float(
        max(LIMITS, key=lambda limit: (chances(scores, limit=limit).argmax(1) == is_class).mean())
    )

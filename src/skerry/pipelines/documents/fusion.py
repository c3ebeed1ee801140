"""Join the ranked lists of several searches into one."""

from __future__ import annotations

import math
from collections.abc import Sequence

Ranked = Sequence[tuple[int, float]]
"""Ids with their scores, best first."""


def distribution_based(lists: Sequence[Ranked]) -> dict[int, float]:
    """Mean over the lists of each id's score, 0 where it is missing, mapped to 0…1.

    Each list's scores are mapped from their mean ± 3 standard deviations, as Qdrant's
    distribution-based score fusion does it. Of the ways that were tried it finds best
    (`benchmarks/retrieval.py`), and no outlier decides what the others are worth.
    """
    fused: dict[int, float] = {}
    for ranked in lists:
        for item, score in _mapped(ranked):
            fused[item] = fused.get(item, 0.0) + score / len(lists)
    return fused


def _mapped(ranked: Ranked) -> Ranked:
    if not ranked:
        return []
    scores = [score for _, score in ranked]
    # Not `statistics.pstdev`: its exact fractions took most of a hybrid search's time in Python.
    mean = math.fsum(scores) / len(scores)
    width = 6 * math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
    if math.isclose(width, 0.0, abs_tol=1e-12):  # all alike
        return [(item, 1.0) for item, _ in ranked]
    low = mean - width / 2
    return [(item, min(1.0, max(0.0, (score - low) / width))) for item, score in ranked]

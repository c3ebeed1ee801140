"""Join the ranked lists of several searches into one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

Ranked = Sequence[tuple[int, float]]
"""Ids with their scores, best first."""

RRF_K = 60


def reciprocal_rank(lists: Sequence[Ranked]) -> dict[int, float]:
    """Sum of 1 / (60 + rank) over the lists, so that the first of all of them has 1.

    Cormack, Clarke and Büttcher, Reciprocal Rank Fusion (SIGIR 2009).
    """
    best = len(lists) / (RRF_K + 1)
    fused: dict[int, float] = {}
    for ranked in lists:
        for rank, (item, _) in enumerate(ranked, 1):
            fused[item] = fused.get(item, 0.0) + 1 / (RRF_K + rank) / best
    return fused


def distribution_based(lists: Sequence[Ranked], weights: Sequence[float]) -> dict[int, float]:
    """Weighted mean of scores, each list's mapped from its mean ± 3 standard deviations to 0…1.

    Distribution-based score fusion, as Qdrant has it (there unweighted).
    """
    return _weighted([_by_distribution(ranked) for ranked in lists], weights)


def min_max(lists: Sequence[Ranked], weights: Sequence[float]) -> dict[int, float]:
    """Weighted mean of scores, each list's mapped from its least and greatest to 0…1."""
    return _weighted([_by_range(ranked) for ranked in lists], weights)


def _weighted(scored: Sequence[Mapping[int, float]], weights: Sequence[float]) -> dict[int, float]:
    fused: dict[int, float] = {}
    for scores, weight in zip(scored, weights, strict=True):
        for item, score in scores.items():
            fused[item] = fused.get(item, 0.0) + weight * score / sum(weights)
    return fused


def _by_distribution(ranked: Ranked) -> dict[int, float]:
    if not ranked:
        return {}
    scores = [score for _, score in ranked]
    low = fmean(scores) - 3 * pstdev(scores)
    return _mapped(ranked, low, 6 * pstdev(scores))


def _by_range(ranked: Ranked) -> dict[int, float]:
    if not ranked:
        return {}
    scores = [score for _, score in ranked]
    return _mapped(ranked, min(scores), max(scores) - min(scores))


def _mapped(ranked: Ranked, low: float, width: float) -> dict[int, float]:
    if math.isclose(width, 0.0, abs_tol=1e-12):  # all alike
        return {item: 1.0 for item, _ in ranked}
    return {item: min(1.0, max(0.0, (score - low) / width)) for item, score in ranked}

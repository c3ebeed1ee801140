"""Ways to join the two searches' lists that were tried beside the one the node uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

Ranked = Sequence[tuple[int, float]]
"""Ids with their scores, best first."""


def reciprocal_rank(lists: Sequence[Ranked], weights: Sequence[float], *, k: int) -> list[int]:
    """By the weighted sum of 1 / (k + rank).

    Cormack, Clarke and Büttcher, Reciprocal Rank Fusion (SIGIR 2009), with k = 60 there.
    """
    return _best_first(
        [
            {item: 1 / (k + rank) for rank, (item, _) in enumerate(ranked, 1)}
            for ranked in lists
        ],
        weights,
    )  # fmt: skip


def distribution_based(lists: Sequence[Ranked], weights: Sequence[float]) -> list[int]:
    """By the weighted sum of scores, each list's mapped from its mean ± 3 deviations to 0…1.

    Distribution-based score fusion, as Qdrant has it (there unweighted).
    """
    return _best_first([_by_distribution(ranked) for ranked in lists], weights)


def min_max(lists: Sequence[Ranked], weights: Sequence[float]) -> list[int]:
    """By the weighted sum of scores, each list's mapped from its least and greatest to 0…1."""
    return _best_first([_by_range(ranked) for ranked in lists], weights)


def _best_first(scored: Sequence[Mapping[int, float]], weights: Sequence[float]) -> list[int]:
    fused: dict[int, float] = {}
    for scores, weight in zip(scored, weights, strict=True):
        for item, score in scores.items():
            fused[item] = fused.get(item, 0.0) + weight * score
    return sorted(fused, key=lambda item: (-fused[item], item))


def _by_distribution(ranked: Ranked) -> dict[int, float]:
    scores = [score for _, score in ranked] or [0.0]
    return _mapped(ranked, fmean(scores) - 3 * pstdev(scores), 6 * pstdev(scores))


def _by_range(ranked: Ranked) -> dict[int, float]:
    scores = [score for _, score in ranked] or [0.0]
    return _mapped(ranked, min(scores), max(scores) - min(scores))


def _mapped(ranked: Ranked, low: float, width: float) -> dict[int, float]:
    if width <= 0:  # all alike
        return {item: 1.0 for item, _ in ranked}
    return {item: min(1.0, max(0.0, (score - low) / width)) for item, score in ranked}

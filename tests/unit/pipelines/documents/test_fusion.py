"""Ranked lists become one, whatever scale their scores are on."""

from __future__ import annotations

import random

import pytest

from skerry.pipelines.documents.fusion import distribution_based

MEANING = [(1, 0.9), (2, 0.6), (3, 0.3)]
WORDS = [(2, 20.0), (4, 10.0), (1, 6.0)]


def order(fused: dict[int, float]) -> list[int]:
    return sorted(fused, key=lambda item: (-fused[item], item))


def test_scores_are_mapped_from_three_deviations_around_the_mean() -> None:
    # Mean 0.6, deviation 0.3 * sqrt(2/3): 0.9 lies sqrt(3/2) of the six deviations above the mean.
    fused = distribution_based([MEANING])
    assert fused == pytest.approx({1: 0.5 + 1.5**0.5 / 6, 2: 0.5, 3: 0.5 - 1.5**0.5 / 6})


def test_item_of_both_lists_comes_before_items_of_one() -> None:
    fused = distribution_based([MEANING, WORDS])
    assert order(fused)[:2] == [2, 1]
    assert fused[3] < fused[1] and fused[4] < fused[1]


def test_missing_item_counts_as_zero_in_that_list() -> None:
    alone = distribution_based([MEANING])
    beside = distribution_based([MEANING, [(9, 1.0)]])
    assert all(beside[item] == pytest.approx(alone[item] / 2) for item in alone)
    assert beside[9] == 0.5


def test_scale_and_offset_of_a_list_do_not_matter() -> None:
    moved = [(item, 7 * score - 100) for item, score in WORDS]
    assert distribution_based([MEANING, moved]) == pytest.approx(
        distribution_based([MEANING, WORDS])
    )


def test_order_within_one_list_stays() -> None:
    scores = sorted((random.Random(1).lognormvariate(0, 1) for _ in range(100)), reverse=True)
    ranked = list(enumerate(scores))
    fused = distribution_based([ranked, []])
    assert all(fused[above] >= fused[above + 1] for above in range(99))


def test_scores_stay_between_zero_and_one_when_one_lies_far_out() -> None:
    ranked = [(0, 1e9), *((item, 1.0) for item in range(1, 100))]
    fused = distribution_based([ranked])
    assert fused[0] == 1.0
    assert all(0.0 <= score <= 1.0 for score in fused.values())


@pytest.mark.parametrize("ranked", [[(5, 0.0)], [(5, 3.0), (6, 3.0)]])
def test_list_of_equal_scores_says_that_all_fit(ranked: list[tuple[int, float]]) -> None:
    assert distribution_based([ranked]) == {item: 1.0 for item, _ in ranked}


def test_no_list_with_anything_gives_nothing() -> None:
    assert distribution_based([[], []]) == {}

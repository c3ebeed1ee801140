"""Suggested tags: who votes, how sure the answer is."""

from __future__ import annotations

from skerry.pipelines.images.tags import Neighbour, suggest_tags


def test_agreeing_close_neighbours_make_a_sure_tag() -> None:
    voters = [Neighbour(0.95, {"shelf": "3"}) for _ in range(4)]
    (tag,) = suggest_tags(voters)
    assert (tag.name, tag.value, tag.votes) == ("shelf", "3", 4)
    assert tag.confidence == 0.95


def test_distant_neighbours_have_no_vote() -> None:
    assert suggest_tags([Neighbour(0.3, {"shelf": "3"})]) == []


def test_neighbours_without_the_tag_lower_its_confidence() -> None:
    sure = suggest_tags([Neighbour(0.9, {"shelf": "3"})])
    doubtful = suggest_tags([Neighbour(0.9, {"shelf": "3"}), Neighbour(0.9, {})])
    assert doubtful[0].confidence == round(sure[0].confidence / 2, 4)


def test_the_closer_neighbour_outvotes_the_farther() -> None:
    first, second = suggest_tags([Neighbour(0.95, {"shelf": "3"}), Neighbour(0.6, {"shelf": "4"})])
    assert (first.value, second.value) == ("3", "4")
    assert first.confidence > second.confidence


def test_true_one_and_text_are_different_values() -> None:
    tags = suggest_tags([Neighbour(0.9, {"a": v}) for v in (True, 1, "1")])
    assert sorted(type(tag.value).__name__ for tag in tags) == ["bool", "int", "str"]
    assert all(tag.votes == 1 for tag in tags)


def test_no_neighbours_no_tags() -> None:
    assert suggest_tags([]) == []

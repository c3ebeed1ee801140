"""What a question asks for, and where a chunk shows it."""

from __future__ import annotations

import pytest

from skerry.media.words import query_terms
from skerry.pipelines.documents.search import highlights, repeated_terms


def test_word_counts_as_often_as_the_question_says_it() -> None:
    asked = "Which libraries lend books, and what do the libraries of a Library lend?"
    assert repeated_terms(asked) == ["librari", "lend", "book", "librari", "librari", "lend"]


@pytest.mark.parametrize("asked", ["the seals", "to be or not to be", "?!", "海豹 seals 海豹"])
def test_every_term_of_the_question_is_asked_for_and_no_other(asked: str) -> None:
    assert list(dict.fromkeys(repeated_terms(asked))) == query_terms(asked)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Seals sleep; a seal sleeps.", [(0, 5), (15, 19)]),
        ("nothing of it", []),
        ("", []),
    ],
)
def test_highlights_are_the_places_of_the_words_whatever_their_ending(
    text: str, places: list[tuple[int, int]]
) -> None:
    assert highlights(text, frozenset(query_terms("seals"))) == places


def test_adjoining_places_are_one_highlight() -> None:
    text = "看海豹睡觉"
    assert highlights(text, frozenset(query_terms("海豹睡觉"))) == [(1, 5)]


def test_one_character_of_a_pair_is_marked_alone() -> None:
    assert highlights("黒猫が好き、猫も黒猫", frozenset(query_terms("猫"))) == [
        (1, 2),
        (6, 7),
        (9, 10),
    ]
    assert highlights("apple", frozenset(query_terms("a"))) == []

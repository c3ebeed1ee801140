"""Which passages are quoted, and how far around the likeliest sentences they go."""

from __future__ import annotations

import numpy as np
import pytest

from skerry.pipelines.answers.extract import sentences_of
from skerry.pipelines.answers.quotes import MAX_QUOTES, QUOTE_CHARACTERS, Quote, choose
from skerry.pipelines.answers.reading import Reading
from skerry.pipelines.documents.search import Hit
from skerry.sql.document_rows import FoundChunk

LONG = QUOTE_CHARACTERS // 2 + 1


def sentence(letter: str, *, characters: int = LONG) -> str:
    return letter + letter.lower() * (characters - 2) + "."


def hit(text: str, *, id: int = 1, start: int = 0) -> Hit:
    chunk = FoundChunk(
        id, 0, start, start + len(text), None, "", text, f"doc{id}", None, None, None, {}
    )
    return Hit(chunk, 0.5, [])


def reading(chances: dict[str, float], *hits: Hit) -> Reading:
    """Of the sentences that begin with these letters; the others were not read."""
    found = sentences_of(hits)
    read = [one for one in found if one.text[0] in chances]
    judged = np.array([chances[one.text[0]] for one in read])
    return Reading(read, found, {}, judged, {})


def letters(quotes: list[Quote]) -> list[str]:
    return ["".join(c for c in quote.text if c.isupper()) for quote in quotes]


def test_the_likeliest_passages_are_quoted_the_best_first() -> None:
    text = " ".join(map(sentence, "ABCDEFGHI"))
    found = reading({"A": 0.1, "C": 0.5, "E": 0.9, "G": 0.3, "I": 0.2}, hit(text, start=50))
    quotes = choose(found, limit=10)
    assert letters(quotes) == ["E", "C", "G"]
    assert len(quotes) == MAX_QUOTES
    assert [quote.score for quote in quotes] == pytest.approx([0.9, 0.5, 0.3])
    assert all(text[quote.start - 50 : quote.end - 50] == quote.text for quote in quotes)
    assert letters(choose(found, limit=1)) == ["E"]


def test_a_sentence_is_quoted_with_what_is_around_it_up_to_the_bound() -> None:
    short = QUOTE_CHARACTERS // 4
    text = " ".join(sentence(letter, characters=short) for letter in "ABCDE")
    (quote,) = choose(reading({"C": 0.9, "B": 0.2, "A": 0.1}, hit(text)), limit=1)
    assert letters([quote]) == ["ABC"]
    assert QUOTE_CHARACTERS - short < len(quote.text) <= QUOTE_CHARACTERS
    (quote,) = choose(reading({"C": 0.9}, hit(text)), limit=1)
    assert letters([quote]) == ["CDE"]  # what follows, where nothing is known of either


def test_two_likely_sentences_together_outweigh_one_that_is_likelier() -> None:
    half = QUOTE_CHARACTERS // 2 - 1
    pair = " ".join(sentence(letter, characters=half) for letter in "AB")
    alone = sentence("C", characters=QUOTE_CHARACTERS)
    found = reading({"A": 0.4, "B": 0.4, "C": 0.5}, hit(pair, id=1), hit(alone, id=2))
    quotes = choose(found, limit=5)
    assert letters(quotes) == ["AB", "C"]
    assert [quote.score for quote in quotes] == pytest.approx([0.64, 0.5])


def test_what_is_far_less_likely_than_the_best_is_not_quoted() -> None:
    hits = [hit(sentence(letter), id=number) for number, letter in enumerate("ABC")]
    assert letters(choose(reading({"A": 0.9, "B": 0.1, "C": 0.01}, *hits), limit=5)) == ["A", "B"]
    assert letters(choose(reading({"C": 0.01}, *hits), limit=5)) == ["C"]


def test_a_heading_is_never_quoted_nor_anything_across_one() -> None:
    text = "Above it.\n\n# Pumps\n\nBelow it.\n\nCalled so."
    quotes = choose(reading({"#": 0.9, "B": 0.5}, hit(text)), limit=5)
    assert [quote.text for quote in quotes] == ["Below it.\n\nCalled so."]
    assert choose(reading({"#": 0.9}, hit("# Pumps")), limit=5) == []


def test_passages_that_follow_one_another_are_one_quote() -> None:
    text = " ".join(map(sentence, "ABCD"))
    (whole,) = choose(reading({"A": 0.5, "B": 0.9, "C": 0.1}, hit(text)), limit=5)
    assert letters([whole]) == ["ABC"]
    assert whole.score == pytest.approx(1 - 0.5 * 0.1 * 0.9)


def test_equal_places_of_two_documents_are_not_joined() -> None:
    a, b = hit(sentence("A"), id=1), hit(f"{sentence('X')} {sentence('B')}", id=2)
    quotes = choose(reading({"A": 0.9, "B": 0.5}, a, b), limit=5)
    assert [(quote.chunk.document, *letters([quote])) for quote in quotes] == [
        ("doc1", "A"),
        ("doc2", "B"),
    ]

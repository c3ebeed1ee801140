"""Which sentences of the chunks found are quoted, and what speaks for them."""

from __future__ import annotations

import numpy as np
import pytest

from skerry.pipelines.document_search import Evidence, Hit
from skerry.pipelines.extract import Reading, Sentence, choose, read, sentences_of
from skerry.sql.document_rows import FoundChunk
from skerry.sql.keywords import TermCounts

TEXT = """# Pumps

Open the lid. Lift the filter out.
A filter lasts six months.

Call us when the pump rattles."""


def hit(start: int, end: int, *, id: int = 1, score: float = 0.5, text: str = TEXT) -> Hit:
    chunk = FoundChunk(id, 0, start, end, None, "", text[start:end], "manual", None, None, None, {})
    return Hit(chunk, score, [])


def texts(sentences: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


def test_sentences_stand_where_they_say_in_the_documents_text() -> None:
    found = sentences_of([hit(TEXT.index("Open"), len(TEXT))])
    assert texts(found) == [
        "Open the lid.",
        "Lift the filter out.",
        "A filter lasts six months.",
        "Call us when the pump rattles.",
    ]
    assert all(TEXT[one.start : one.end] == one.text for one in found)


def test_what_two_chunks_share_is_read_once_with_the_better_chunk() -> None:
    middle = TEXT.index("Lift")
    end = TEXT.index("\n\nCall")
    first, second = hit(middle, len(TEXT), id=1), hit(0, end, id=2)
    found = sentences_of([first, second])
    assert len({(one.start, one.end) for one in found}) == len(found) == 5
    lasts = next(one for one in found if "lasts" in one.text)
    assert (lasts.chunk.id, lasts.rank) == (1, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  x = 1;\n}\n```\n\nIt is so. It was.", ["It is so.", "It was."]),
        ("}\n```\n\nIt is so.\n\n```rust\nfn a() {}", ["It is so.", "```rust\nfn a() {}"]),
        ("Intro.\n\n```rust\na();\n```\n\nAfter.", ["Intro.", "```rust\na();\n```", "After."]),
        ("```\na();\n```\n\nAfter.", ["```\na();\n```", "After."]),
    ],
)
def test_a_chunk_that_begins_within_code_is_read_as_text_where_the_code_has_ended(
    text: str, expected: list[str]
) -> None:
    found = texts(sentences_of([hit(0, len(text), text=text)]))
    assert found[-len(expected) :] == expected


def reading(cosines: list[float], counts: TermCounts, evidence: Evidence | None = None) -> Reading:
    hits = [hit(0, len(TEXT))]
    sentences = sentences_of(hits)
    given = evidence or Evidence(hits, [(1, 0.6)], [(1, 4.0)])
    return read(sentences, np.array(cosines, np.float32), counts=counts, evidence=given)


def test_rare_words_of_the_question_count_more_than_common_ones() -> None:
    counts = TermCounts({"filter": 1, "pump": 50, "zebra": 0}, chunks=100)
    found = reading([0.1, 0.2, 0.3, 0.4, 0.5], counts)
    weights = counts.weights()
    assert weights["filter"] > weights["pump"]
    total = sum(weights.values())
    share = dict(zip(texts(found.sentences), found.by_sentence["words"], strict=True))
    assert share["Open the lid."] == 0
    assert share["Lift the filter out."] == pytest.approx(weights["filter"] / total)
    assert share["Call us when the pump rattles."] == pytest.approx(weights["pump"] / total)
    around = dict(zip(texts(found.sentences), found.by_sentence["words_around"], strict=True))
    assert around["Open the lid."] == pytest.approx(
        (weights["filter"] + weights["pump"]) / total
    )  # the heading before it, the filter after it
    assert found.overall["unknown_words"] == pytest.approx(weights["zebra"] / total)
    assert found.overall["sentence_meaning"] == pytest.approx(0.5)


def test_meaning_is_told_as_how_far_a_sentence_stands_out() -> None:
    low = reading([0.0, 0.1, 0.2, 0.1, 0.1], TermCounts({}, 1)).by_sentence["meaning"]
    high = reading([0.8, 0.85, 0.9, 0.85, 0.85], TermCounts({}, 1)).by_sentence["meaning"]
    np.testing.assert_allclose(low, high, atol=1e-4)
    alike = reading([0.5] * 5, TermCounts({}, 1))
    assert np.isfinite(alike.by_sentence["meaning"]).all()


def test_a_small_collection_has_something_to_stand_out_from_too() -> None:
    alone = reading([0.5] * 5, TermCounts({}, 1)).overall["meaning_margin"]
    many = [(n, 0.6 if n == 1 else 0.5) for n in range(1, 60)]
    crowd = reading([0.5] * 5, TermCounts({}, 1), Evidence([hit(0, len(TEXT))], many, []))
    assert alone == pytest.approx(0.5)
    assert crowd.overall["meaning_margin"] == pytest.approx(0.1)


def quoted(chances: list[float], *, limit: int = 5) -> list[tuple[str, float]]:
    sentences = sentences_of([hit(0, len(TEXT))])
    return [
        (quote.text, quote.score) for quote in choose(sentences, np.array(chances), limit=limit)
    ]


def test_the_likeliest_three_are_quoted_the_best_first() -> None:
    assert quoted([0.0, 0.5, 0.1, 0.2, 0.9]) == [
        ("A filter lasts six months.\n\nCall us when the pump rattles.", 0.9),
        ("Open the lid.", 0.5),
    ]


def test_sentences_in_a_row_make_one_quote_even_when_the_last_closes_the_gap() -> None:
    (whole,) = quoted([0.0, 0.9, 0.1, 0.5, 0.0])
    assert whole == ("Open the lid. Lift the filter out.\nA filter lasts six months.", 0.9)


def test_a_heading_is_never_quoted_and_the_limit_holds() -> None:
    assert "Pumps" not in quoted([0.9, 0.1, 0.1, 0.1, 0.1])[0][0]
    assert len(quoted([0.0, 0.5, 0.0, 0.4, 0.9], limit=1)) == 1


def test_equal_sentences_of_two_documents_are_not_joined() -> None:
    sentences = sentences_of([hit(0, len(TEXT), id=1)])
    others = [
        Sentence(
            FoundChunk(2, 0, 0, len(TEXT), None, "", TEXT, "other", None, None, None, {}),
            0.5, 1, one.place, one.start, one.end, one.is_heading,
        )
        for one in sentences
    ]  # fmt: skip
    chances = np.array([0, 0.9, 0, 0, 0, 0, 0, 0.8, 0.1, 0])
    found = choose([*sentences, *others], chances, limit=5)
    assert [(quote.chunk.document, quote.text) for quote in found] == [
        ("manual", "Open the lid."),
        ("other", "Lift the filter out.\nA filter lasts six months."),
    ]

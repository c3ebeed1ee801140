"""What speaks for a sentence, and which of those found are read."""

from __future__ import annotations

import numpy as np
import pytest

from skerry.pipelines.answers.judgement import Logistic, Weight
from skerry.pipelines.answers.reading import (
    READ_CHARACTERS,
    SENTENCE_CHARACTERS,
    Reading,
    Skimmed,
    beginning,
    read,
    skim,
    worth_reading,
)
from skerry.pipelines.documents.search import Evidence, Hit
from skerry.sql.document_rows import FoundChunk
from skerry.sql.keywords import TermCounts

TEXT = """# Pumps

Open the lid. Lift the filter out.
A filter lasts six months.

Call us when the pump rattles."""
BY_MEANING = Logistic(0.0, {"meaning": Weight(0.0, 1.0, 2.0)})


def hit(text: str = TEXT, *, id: int = 1, heading: str = "") -> Hit:
    chunk = FoundChunk(id, 0, 0, len(text), None, heading, text, f"doc{id}", None, None, None, {})
    return Hit(chunk, 0.5, [])


def skimmed(counts: TermCounts, *hits: Hit, meaning: list[tuple[int, float]] | None = None):
    return skim(Evidence(list(hits) or [hit()], meaning or [(1, 0.6)], [(1, 4.0)]), counts)


def by_text(found: Skimmed, name: str) -> dict[str, float]:
    texts = [one.text for one in found.sentences]
    return dict(zip(texts, map(float, found.by_sentence[name]), strict=True))


def test_rare_words_of_the_question_count_more_than_common_ones() -> None:
    counts = TermCounts({"filter": 1, "pump": 50, "zebra": 0}, chunks=100)
    found = skimmed(counts)
    weights = counts.weights()
    assert weights["filter"] > weights["pump"]
    total = sum(weights.values())
    share = by_text(found, "words")
    assert share["Open the lid."] == 0
    assert share["Lift the filter out."] == pytest.approx(weights["filter"] / total)
    assert share["Call us when the pump rattles."] == pytest.approx(weights["pump"] / total)
    assert by_text(found, "words_around")["Open the lid."] == pytest.approx(
        (weights["filter"] + weights["pump"]) / total
    )  # the heading before it, the filter after it
    assert found.overall["unknown_words"] == pytest.approx(weights["zebra"] / total)


def test_a_sentence_has_the_words_of_the_heading_it_stands_under() -> None:
    counts = TermCounts({"filter": 1, "pump": 1}, chunks=100)
    found = skimmed(counts, hit("The filter.\n\nThe lid.", heading="Pumps"))
    assert by_text(found, "words_and_heading") == pytest.approx(
        {"The filter.": 1.0, "The lid.": 0.5}
    )


def test_code_questions_and_markup_are_told_from_prose() -> None:
    text = "```rust\nlet a = 1;\n```\n\nWhat is a pump?\n\n<img>\n\nA pump moves water."
    found = skimmed(TermCounts({}, 1), hit(text))
    seen = {name: [*by_text(found, name).values()] for name in ("code", "asks", "markup")}
    assert seen == {"code": [1, 0, 0, 0], "asks": [0, 1, 0, 0], "markup": [0, 0, 1, 0]}


def test_the_worthiest_are_read_as_far_as_the_time_goes_but_no_headings() -> None:
    many = [hit("# Head\n\n" + "word " * 40, id=number) for number in range(40)]
    found = skimmed(TermCounts({}, 1), *many)
    worth = np.array([float(one.is_heading) + one.rank / 100 for one in found.sentences])
    at = worth_reading(found, worth)
    lengths = [len(beginning(found.sentences[one])) for one in at]
    assert READ_CHARACTERS - max(lengths) < sum(lengths) <= READ_CHARACTERS
    assert at == sorted(at)
    assert {found.sentences[one].rank for one in at} == set(range(40 - len(at), 40))
    assert not any(found.sentences[one].is_heading for one in at)


def test_headings_are_read_where_there_is_nothing_else() -> None:
    found = skimmed(TermCounts({}, 1), hit("# Pumps"))
    assert worth_reading(found, np.array([0.5])) == [0]


def test_a_long_sentence_is_read_by_its_beginning() -> None:
    found = skimmed(TermCounts({}, 1), hit("pump " * 200))
    assert len(beginning(found.sentences[0])) == SENTENCE_CHARACTERS


def reading(cosines: list[float], weights: Logistic = BY_MEANING) -> Reading:
    found = skimmed(TermCounts({}, 1))
    return read(found, range(5), np.array(cosines, np.float32), weights=weights)


def test_meaning_is_told_as_how_far_a_sentence_stands_out() -> None:
    low, high = reading([0.0, 0.1, 0.2, 0.1, 0.1]), reading([0.8, 0.85, 0.9, 0.85, 0.85])
    np.testing.assert_allclose(low.by_sentence["meaning"], high.by_sentence["meaning"], atol=1e-4)
    assert np.isfinite(reading([0.5] * 5).by_sentence["meaning"]).all()
    assert high.overall["sentence_meaning"] == pytest.approx(0.9)


def test_only_those_read_are_judged_and_the_best_speaks_for_an_answer() -> None:
    found = skimmed(TermCounts({}, 1))
    judged = read(found, [1, 3], np.array([0.2, 0.6], np.float32), weights=BY_MEANING)
    assert [one.text for one in judged.sentences] == [
        "Open the lid.",
        "A filter lasts six months.",
    ]
    assert judged.found == found.sentences
    np.testing.assert_allclose(judged.chances, [1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2))])
    assert judged.overall["best_sentence"] == pytest.approx(2.0)


def test_a_small_collection_has_something_to_stand_out_from_too() -> None:
    counts = TermCounts({}, 1)
    alone = skimmed(counts, meaning=[(1, 0.5)]).overall["meaning_margin"]
    many = [(n, 0.6 if n == 1 else 0.5) for n in range(1, 60)]
    assert alone == pytest.approx(0.4)
    assert skimmed(counts, meaning=many).overall["meaning_margin"] == pytest.approx(0.1)

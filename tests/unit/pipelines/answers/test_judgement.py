"""The weights that choose sentences and decline questions."""

from __future__ import annotations

import numpy as np
import pytest

from skerry.models.catalogue import DEFAULT_EMBEDDING_MODEL
from skerry.pipelines.answers.judgement import Decision, Logistic, Weight, shipped_judgement
from skerry.pipelines.answers.reading import read, skim
from skerry.pipelines.documents.search import Evidence, Hit
from skerry.sql.document_rows import FoundChunk
from skerry.sql.keywords import TermCounts


def test_a_chance_is_the_logistic_of_the_weighed_features_and_others_do_not_count() -> None:
    judge = Logistic(bias=0.5, weights={"a": Weight(1.0, 2.0, 3.0), "b": Weight(0.0, 1.0, -1.0)})
    features = {"a": np.array([1.0, 5.0]), "b": np.array([0.5, 0.0]), "c": np.array([9.0, 9.0])}
    np.testing.assert_allclose(judge.chance(features), [0.5, 1 / (1 + np.exp(-6.5))])
    np.testing.assert_allclose(judge.log_odds(features), [0.0, 6.5])
    decision = Decision(0.5, judge)
    assert decision.chance({"a": 1.0, "b": 0.5}) == pytest.approx(0.5)


def test_cosines_decide_only_for_the_model_they_were_learnt_of() -> None:
    judgement = shipped_judgement()
    assert judgement.embedding == DEFAULT_EMBEDDING_MODEL
    assert judgement.decision(DEFAULT_EMBEDDING_MODEL) is judgement.by_meaning
    by_words = judgement.decision("multilingual-e5-small")
    assert by_words is judgement.by_words
    assert not any("meaning" in name for name in by_words.chances.weights)


def test_what_was_shipped_weighs_what_is_measured() -> None:
    text = "One sentence. And another."
    chunk = FoundChunk(1, 0, 0, len(text), None, "", text, "a", None, None, None, {})
    hits = [Hit(chunk, 1.0, [])]
    judgement = shipped_judgement()
    skimmed = skim(Evidence(hits, [(1, 0.4)], []), TermCounts({"one": 1, "none": 0}, 1))
    worth = judgement.worth.chance(skimmed.by_sentence)
    cosines = np.array([0.2, 0.3], np.float32)
    reading = read(skimmed, range(2), cosines, weights=judgement.sentence)
    for chances in (worth, reading.chances):
        assert chances.shape == (2,)
        assert ((chances > 0) & (chances < 1)).all()
    for decision in (judgement.by_meaning, judgement.by_words):
        assert 0 < decision.chance(reading.overall) < 1
        assert 0 < decision.threshold < 1


@pytest.mark.parametrize(
    ("feature", "more_is_better"),
    [("meaning_margin", True), ("sentence_meaning", True), ("unknown_words", False)],
)
def test_the_shipped_weights_point_the_way_they_should(feature: str, more_is_better: bool) -> None:
    weight = shipped_judgement().by_meaning.chances.weights[feature].weight
    assert (weight > 0) is more_is_better

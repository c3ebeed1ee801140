"""Ranked labels, the embedding and its JSON, packed and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from skerry.inference.features import Features, rank


def test_ranked_labels_fall_in_probability_and_the_embedding_has_length_one() -> None:
    features = rank(logits=np.array([0, 2, 1], "f4"), embedding=np.array([3, 4], "f4"))
    assert features.indices.tolist() == [1, 2, 0]
    assert np.all(np.diff(features.probabilities) <= 0)
    assert features.probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    assert features.embedding.tolist() == pytest.approx([0.6, 0.8])


def test_packed_features_come_back_equal() -> None:
    features = rank(logits=np.arange(300, dtype="f4"), embedding=np.arange(7, dtype="f4"))
    again = Features.unpack(features.pack())
    for name in ("embedding", "indices", "probabilities"):
        assert np.array_equal(getattr(features, name), getattr(again, name))
    assert again.indices.size == 100
    assert again.embedding_json == features.embedding_json


def test_the_json_of_an_embedding_reads_back_as_its_very_floats() -> None:
    features = rank(logits=np.arange(9, dtype="f4"), embedding=np.arange(7, dtype="f4") / 3)
    read = np.array(json.loads(features.embedding_json), "f4")
    assert np.array_equal(read, features.embedding)

"""The catalogue says of each model what a user has to know."""

from __future__ import annotations

import re

from skerry.models.catalogue import EncoderEntry, ImageEntry, SentimentEntry, catalogue
from skerry.models.labels import shipped_labels

IMAGE_MODELS = {f"efficientnet-lite{number}" for number in range(3)}
TEXT_MODELS = {"all-minilm-l6-v2", "minilm-sentiment", "smollm2-135m-instruct"}


def test_every_entry_is_complete() -> None:
    entries = catalogue()
    assert set(entries) == IMAGE_MODELS | TEXT_MODELS
    for name, entry in entries.items():
        assert entry.name == name
        assert re.fullmatch(r"[0-9a-f]{64}", entry.source.sha256)
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", entry.source.location)
        assert entry.license == "Apache-2.0"
        assert "Not for:" in entry.card


def test_classifiers_of_images_know_their_thousand_classes() -> None:
    images = [entry for entry in catalogue().values() if isinstance(entry, ImageEntry)]
    assert {entry.name for entry in images} == IMAGE_MODELS
    assert all(len(shipped_labels(entry.labels)) == 1000 for entry in images)


def test_what_lies_beside_an_encoders_weights_is_checked_too() -> None:
    for entry in catalogue().values():
        if isinstance(entry, EncoderEntry | SentimentEntry):
            assert {file.name for file in entry.companions} == {"config.json", "tokenizer.json"}
            assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in entry.companions)


def test_no_two_entries_share_a_checksum_unless_one_is_the_base_of_the_other() -> None:
    entries = [e for e in catalogue().values() if not isinstance(e, SentimentEntry)]
    digests = [entry.source.sha256 for entry in entries]
    assert len(set(digests)) == len(digests)

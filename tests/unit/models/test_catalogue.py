"""The catalogue says of each model what a user has to know."""

from __future__ import annotations

import re

from skerry.models.catalogue import catalogue
from skerry.models.labels import shipped_labels


def test_every_entry_is_complete() -> None:
    entries = catalogue()
    assert set(entries) == {f"efficientnet-lite{number}" for number in range(3)}
    for name, entry in entries.items():
        assert entry.name == name
        assert re.fullmatch(r"[0-9a-f]{64}", entry.source.sha256)
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", entry.source.location)
        assert entry.license == "Apache-2.0"
        assert len(shipped_labels(entry.labels)) == 1000
        assert "Not for:" in entry.card


def test_no_two_entries_share_a_checksum() -> None:
    digests = [entry.source.sha256 for entry in catalogue().values()]
    assert len(set(digests)) == len(digests)

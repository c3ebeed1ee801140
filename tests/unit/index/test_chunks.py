"""Payload and filter of chunks agree on what a field is."""

import pytest

from skerry.filter_json import filter_of
from skerry.index.chunks import chunk_filter, chunk_payload
from skerry.vectors.base import Range
from skerry.vectors.filters import holds

PAYLOAD = chunk_payload(
    document="guide.md",
    category="books",
    timestamp=100,
    metadata={"lang": ["en", "de"], "pages": 3, "draft": False, "a.b": "x"},
)


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ({"ids": ["guide.md", "x"]}, True),
        ({"ids": []}, False),
        ({"category": "books"}, True),
        ({"category": "Books"}, False),
        ({"timestamp": Range(gte=100, lt=101)}, True),
        ({"timestamp": Range(gt=100)}, False),
        ({"metadata": {"lang": "de", "pages": 3}}, True),
        ({"metadata": {"lang": "de", "pages": "3"}}, False),
        ({"metadata": {"draft": False, "a.b": "x"}}, True),
        ({"metadata": {"absent": "x"}}, False),
    ],
)
def test_chunk_filter(wanted, passes):
    assert holds(chunk_filter(**wanted), PAYLOAD) is passes


def test_nothing_asked_is_no_filter():
    assert chunk_filter() is None
    assert chunk_filter(metadata={}, timestamp=Range()) is None


def test_what_a_document_has_not_is_empty():
    bare = chunk_payload(document="a", category=None, timestamp=None, metadata={})
    assert bare == {"id": "a"}
    for key in ("category", "timestamp", "metadata.lang"):
        empty = filter_of({"must": [{"is_empty": {"key": key}}]})
        assert holds(empty, bare) and not holds(empty, PAYLOAD)


def test_own_field_of_a_document_cannot_stand_for_another_field():
    payload = chunk_payload(document="a", category=None, timestamp=None, metadata={"id": "b"})
    assert holds(chunk_filter(ids=["a"]), payload)
    assert not holds(chunk_filter(ids=["b"]), payload)

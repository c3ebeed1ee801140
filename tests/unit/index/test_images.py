"""Payload and filter of images agree on what a value is."""

import pytest

from skerry.index.images import image_filter, image_payload, tag_term
from skerry.vectors.base import Range
from skerry.vectors.filters import holds

PAYLOAD = image_payload(
    uploaded_by="ann",
    created_at=100,
    labels=["Tabby, tabby cat", "Tabby", "tabby cat"],
    tags={"shelf": "3", "count": 3, "sold": True, "weight": 0.5},
)


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ({"uploaded_by": "ann"}, True),
        ({"uploaded_by": "Ann"}, False),
        ({"label": "TABBY"}, True),
        ({"label": "cat"}, False),
        ({"tags": {"shelf": "3"}}, True),
        ({"tags": {"shelf": 3}}, False),
        ({"tags": {"count": 3.0}}, True),
        ({"tags": {"count": "3"}}, False),
        ({"tags": {"sold": True}}, True),
        ({"tags": {"sold": 1}}, False),
        ({"tags": {"weight": 0.5, "shelf": "3"}}, True),
        ({"tags": {"weight": 0.5, "shelf": "4"}}, False),
        ({"created_at": Range(gte=100, lt=101)}, True),
        ({"created_at": Range(gt=100)}, False),
    ],
)
def test_image_filter(wanted, passes):
    assert holds(image_filter(**wanted), PAYLOAD) is passes


def test_nothing_asked_is_no_filter():
    assert image_filter() is None
    assert image_filter(tags={}, created_at=Range()) is None


def test_name_and_value_of_a_tag_cannot_be_mistaken_for_another():
    terms = [tag_term("a", "b"), tag_term('a="b"', ""), tag_term("a=", "b"), tag_term("a", "=b")]
    assert len(set(terms)) == len(terms)

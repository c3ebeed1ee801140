"""Filters in JSON: Qdrant's form and the short one, and what is refused in plain words."""

import msgspec
import pytest

from skerry.errors import BadRequest, FieldRefused, UnknownField
from skerry.filter_json import filter_of
from skerry.filters import MAX_DEPTH, Condition, Filter, Range, all_of, measure
from skerry.vectors import base

A, B = Condition("category", value="a"), Condition("category", value="b")


def test_short_form_joins_its_fields_by_and():
    wanted = filter_of(
        {
            "category": "programming",
            "timestamp": {"gte": 1_700_000_000, "lt": "2024-01-01T00:00:00Z"},
            "metadata": {"lang": ["en", "de"], "pages": {"gt": 3}, "draft": False},
            "id": "a",
        }
    )
    assert wanted == Filter(
        must=(
            Condition("id", value="a"),
            Condition("category", value="programming"),
            Condition("timestamp", range=Range(gte=1_700_000_000, lt=1_704_067_200)),
            Condition("metadata.lang", any=("en", "de")),
            Condition("metadata.pages", range=Range(gt=3)),
            Condition("metadata.draft", value=False),
        )
    )


def test_qdrant_form_is_read_as_it_is():
    wanted = filter_of(
        {
            "must": [{"key": "category", "match": {"value": "a"}}],
            "should": [
                {"key": "metadata.n", "match": {"any": [1, 2]}, "range": {"gt": 0, "lt": None}},
                {"must_not": {"key": "metadata.作者", "match": {"except": ["x"]}}},
            ],
            "must_not": [{"is_empty": {"key": "timestamp"}}, {"has_id": ["x", "y"]}],
        }
    )
    assert wanted == Filter(
        must=(A,),
        should=(
            Condition("metadata.n", any=(1, 2), range=Range(gt=0)),
            Filter(must_not=(Condition("metadata.作者", except_=("x",)),)),
        ),
        must_not=(
            Filter(must_not=(Condition("timestamp", except_=()),)),
            Condition("id", any=("x", "y")),
        ),
    )
    assert filter_of({}) == Filter()


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("2023-02-08T10:49:00Z", 1_675_853_340),
        ("2023-02-08T11:49:00+01:00", 1_675_853_340),
        ("2023-02-08 10:49", 1_675_853_340),
        ("2023-02-08", 1_675_814_400),
        ("2023-02-08T10:49:00.5Z", 1_675_853_340.5),
    ],
)
def test_dates_are_taken_for_utc_and_become_seconds(date, seconds):
    wanted = filter_of({"must": {"key": "timestamp", "range": {"gte": date}}})
    assert wanted.must == (Condition("timestamp", range=Range(gte=seconds)),)
    exact = filter_of({"timestamp": date})
    assert exact.must == (Condition("timestamp", range=Range(gte=seconds, lte=seconds)),)


def deep(depth):
    item = {"key": "category", "match": {"value": "a"}}
    for _ in range(depth):
        item = {"must": [item]}
    return item


def must(**condition):
    return {"must": [condition]}


@pytest.mark.parametrize(
    ("json", "error", "says"),
    [
        ([], BadRequest, "must be an object"),
        ({"categroy": "a"}, UnknownField, "categroy"),
        ({"category": "a", "must": []}, UnknownField, "'must'"),
        ({"category": 1.5}, FieldRefused, "category"),
        ({"category": None}, FieldRefused, "category"),
        ({"metadata": "x"}, FieldRefused, "must be an object"),
        ({"metadata": {"": "x"}}, BadRequest, "no field name"),
        ({"metadata": {'a"b': "x"}}, BadRequest, "no field name"),
        ({"metadata": {"a": {"gte": "2024-01-01"}}}, FieldRefused, "only 'timestamp'"),
        ({"timestamp": {"gte": 2, "lt": 1}}, FieldRefused, "upside down"),
        ({"timestamp": {"gte": "yesterday"}}, FieldRefused, "no date"),
        ({"timestamp": {"gte": True}}, FieldRefused, "must be a number"),
        ({"timestamp": {"gte": float("nan")}}, BadRequest, "not finite"),
        ({"timestamp": {"gte": 10**400}}, BadRequest, "not finite"),
        ({"timestamp": {"from": 1}}, UnknownField, "'from'"),
        (must(key="colour", match={"value": "a"}), UnknownField, "colour"),
        (must(key="metadata.", match={"value": "a"}), UnknownField, "metadata."),
        (must(key=3, match={"value": "a"}), BadRequest, "must be a text"),
        (must(key="category"), BadRequest, "tests nothing"),
        (must(key="category", match={"text": "a"}), FieldRefused, "'text'"),
        (must(key="category", match={"values": "a"}), UnknownField, "'values'"),
        (must(key="category", match={}), FieldRefused, "must be one of"),
        (must(key="category", match={"any": "a"}), FieldRefused, "needs a list"),
        (must(key="category", match={"any": ["a", 1]}), BadRequest, "mixes"),
        (must(key="category", match={"any": [True]}), FieldRefused, "needs a list"),
        (must(key="timestamp", match={"value": 1 << 63}), BadRequest, "too large"),
        (must(key="timestamp", geo_radius={}), FieldRefused, "'geo_radius'"),
        (must(nested={"key": "a", "filter": {}}), FieldRefused, "'nested'"),
        (must(is_null={"key": "category"}), FieldRefused, "'is_null'"),
        (must(is_empty="category"), BadRequest, "must be a text"),
        (must(has_id=[1]), FieldRefused, "document ids"),
        ({"must": ["x"]}, FieldRefused, "no condition"),
        ({"min_should": {}}, FieldRefused, "'min_should'"),
        (deep(MAX_DEPTH + 1), BadRequest, "deeper"),
        (deep(2000), BadRequest, "deeper"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(json, error, says):
    with pytest.raises(error, match=says):
        filter_of(json)


def test_unknown_field_is_answered_with_the_one_that_may_be_meant():
    with pytest.raises(UnknownField) as caught:
        filter_of(must(key="colour", match={"value": "red"}))
    assert "'metadata.colour'" in caught.value.remedy
    with pytest.raises(UnknownField) as caught:
        filter_of(must(key="catgory", match={"value": "red"}))
    assert "'category'" in caught.value.remedy


def test_deepest_filter_allowed_is_read():
    measure(filter_of(deep(MAX_DEPTH)))


def test_filters_are_joined_where_several_are_given():
    one, two = Filter(must=(A,)), Filter(should=(B,))
    assert all_of(None, None) is None
    assert all_of(None, one) is one
    assert all_of(one, None, two) == Filter(must=(one, two))


def test_vectors_know_the_same_types_and_they_survive_the_wire():
    assert (base.Condition, base.Filter, base.Range) == (Condition, Filter, Range)
    wanted = Filter(must=(A, Filter(should=(Condition("n", range=Range(gt=1)),))))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(wanted), type=Filter) == wanted

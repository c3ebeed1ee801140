"""What a filter means, and how large it may be."""

import pytest

from skerry.errors import BadRequest
from skerry.vectors.base import Condition, Filter, Range
from skerry.vectors.filters import MAX_CONDITIONS, MAX_DEPTH, holds, measure

PAYLOAD = {"by": "ann", "tags": ["x=1", "y=2"], "n": 3, "ok": True, "empty": [], "none": None}


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        (Condition("by", value="ann"), True),
        (Condition("by", value="bob"), False),
        (Condition("by", any=("bob", "ann")), True),
        (Condition("by", any=()), False),
        (Condition("by", except_=("ann",)), False),
        (Condition("by", except_=()), True),
        (Condition("tags", value="y=2"), True),
        (Condition("tags", except_=("x=1",)), True),
        (Condition("tags", except_=("x=1", "y=2")), False),
        (Condition("n", value=3), True),
        (Condition("n", value="3"), False),
        (Condition("n", range=Range(gt=2, lte=3)), True),
        (Condition("n", range=Range(gt=3)), False),
        (Condition("n", range=Range(lt=3)), False),
        (Condition("n", range=Range(gte=1), except_=(3,)), False),
        (Condition("ok", value=True), True),
        (Condition("ok", value=1), False),
        (Condition("ok", range=Range(gte=0)), False),
        (Condition("absent", value="x"), False),
        (Condition("absent", except_=("x",)), False),
        (Condition("empty", except_=("x",)), False),
        (Condition("none", except_=("x",)), False),
    ],
)
def test_condition(condition, passes):
    assert holds(Filter(must=(condition,)), PAYLOAD) is passes
    assert holds(Filter(must_not=(condition,)), PAYLOAD) is not passes


def test_must_should_and_must_not_join():
    ann, three, four = (
        Condition("by", value="ann"),
        Condition("n", value=3),
        Condition("n", value=4),
    )
    assert holds(Filter(), PAYLOAD)
    assert holds(Filter(must=(ann,), should=(three, four), must_not=(four,)), PAYLOAD)
    assert not holds(Filter(must=(ann,), should=(four,)), PAYLOAD)
    assert holds(Filter(must=(Filter(should=(four, Filter(must=(three,)))),)), PAYLOAD)


def test_size_counts_conditions_and_values_of_nested_filters():
    inner = Filter(should=(Condition("a", any=("x", "y")), Condition("b", value=1)))
    size = measure(Filter(must=(inner, Condition("c", range=Range(gt=1)))))
    assert (size.conditions, size.values) == (3, 5)


def nested(depth):
    innermost = Filter(must=(Condition("a", value=1),))
    return innermost if depth == 1 else Filter(must=(nested(depth - 1),))


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        (Filter(must=(Condition("a"),)), "tests nothing"),
        (Filter(must=(Condition("a.b", value=1),)), "no field name"),
        (Filter(must=(Condition("", value=1),)), "no field name"),
        (Filter(must=(Condition("a", any=("x", 1)),)), "mixes"),
        (Filter(must=(Condition("a", value=1 << 63),)), "too large"),
        (Filter(must=(Condition("a", range=Range(gt=float("nan"))),)), "not finite"),
        (Filter(must=(Condition("a", value=1),) * (MAX_CONDITIONS + 1)), "more than"),
        (Filter(must=(Condition("a", any=tuple(range(5000))),)), "values"),
        (nested(MAX_DEPTH + 1), "deeper"),
    ],
)
def test_senseless_or_huge_filter_is_refused(filter, says):
    with pytest.raises(BadRequest, match=says):
        measure(filter)
    measure(nested(MAX_DEPTH))


def test_field_of_a_document_may_have_any_name_that_a_path_can_quote():
    for name in ("lang", "a b", "a.b", "作者[]"):
        measure(Filter(must=(Condition(f"metadata.{name}", value=1),)))
    for name in ("", 'a"b', "a\\b", "a\nb", "x" * 129):
        with pytest.raises(BadRequest, match="no field name"):
            measure(Filter(must=(Condition(f"metadata.{name}", value=1),)))

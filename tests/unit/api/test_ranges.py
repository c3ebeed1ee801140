"""Which bytes a `Range` header asks for (RFC 9110, 14.1 and 14.2)."""

from __future__ import annotations

import pytest

from skerry.api.ranges import byte_range
from skerry.errors import RangeNotSatisfiable


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-9", (0, 10)), ("bytes=10-19", (10, 10)), ("bytes=90-", (90, 10)),
        ("bytes=-5", (95, 5)), ("bytes=-500", (0, 100)), ("bytes=0-", (0, 100)),
        ("bytes=99-99", (99, 1)), ("bytes=50-5000", (50, 50)), (" bytes=1-1 ", (1, 1)),
    ],
)  # fmt: skip
def test_a_range_inside_the_file_is_given(header: str, wanted: tuple[int, int]) -> None:
    assert byte_range(header, size=100) == wanted


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_the_file_is_refused_with_its_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        byte_range(header, size=100)
    assert raised.value.size == 100


@pytest.mark.parametrize(
    "header",
    ["", "bytes=", "bytes=-", "bytes=9-1", "lines=0-5", "bytes=0-1,5-6", "bytes=a-b", "bytes=٣-٤",
     "bytes=1", "bytes=--1", "0-5", "bytes=" + "9" * 5000 + "-", "\xff"],
)  # fmt: skip
def test_what_is_no_single_range_gives_the_whole_file(header: str) -> None:
    assert byte_range(header, size=100) is None


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1"])
def test_an_empty_file_has_no_range(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        byte_range(header, size=0)

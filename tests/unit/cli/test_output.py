from __future__ import annotations

import time

import click
import pytest

from skerry.cli.output import bar, count, duration, one_line, size
from skerry.cli.parameters import expiry, instant, is_image_id, tag


def test_control_characters_and_line_breaks_never_reach_the_terminal() -> None:
    assert one_line("a\x1b[31m\nb\u202e\x07") == "a�[31m b��"
    assert one_line("Grün 猫") == "Grün 猫"


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("start", [0.0, 0.5, 0.99999])
def test_a_bar_keeps_its_width_and_shows_what_is_not_nothing(share: float, start: float) -> None:
    drawn = bar(share, width=20, start=start)
    assert len(drawn) == 20
    assert bool(drawn.strip()) is (share > 0)


def test_a_longer_share_has_a_longer_bar() -> None:
    assert bar(0.5, width=10) == "█████     "
    assert bar(0.25, width=10) == "██▌       "
    assert bar(0.5, width=10, start=0.5) == "     █████"


def test_figures_are_written_as_people_read_them() -> None:
    assert [size(n) for n in (999, 1000, 24_500_000, 3e12)] == [
        "999 B",
        "1.0 kB",
        "24.5 MB",
        "3.0 TB",
    ]
    assert [duration(s) for s in (3, 3600, 7300, 200_000)] == ["3 s", "60 min", "2 h", "2 days"]
    assert (count(1, "image"), count(2000, "image")) == ("1 image", "2,000 images")


def test_a_tag_is_split_at_its_first_equals_sign() -> None:
    assert tag("note=a=b") == ("note", "a=b")
    assert tag("empty=") == ("empty", "")
    with pytest.raises(click.BadParameter):
        tag("=x")


def test_times_are_dates_or_seconds_and_spans_lie_ahead() -> None:
    assert instant("1764000000") == 1_764_000_000
    assert instant("2026-01-31T00:00:00+00:00") == 1_769_817_600
    assert instant("2026-01-31") == int(time.mktime((2026, 1, 31, 0, 0, 0, 0, 0, -1)))
    assert abs(expiry("90d") - time.time() - 90 * 86_400) < 5
    with pytest.raises(click.BadParameter):
        expiry("1764000000")
    with pytest.raises(click.BadParameter):
        instant("²")


def test_only_numbers_and_digests_are_ids() -> None:
    assert is_image_id("7")
    assert is_image_id("ab" * 32)
    assert not is_image_id("7.jpg")
    assert not is_image_id("²")

import pytest

from skerry.auth.expiry import parse_expires
from skerry.errors import BadRequest

NOW = 1_764_000_000.5  # 2025-11-24T16:00:00Z


@pytest.mark.parametrize(
    "text, expected",
    [
        ("30d", 1_764_000_000 + 30 * 86_400),
        (" 12 h ", 1_764_000_000 + 12 * 3600),
        ("1y", 1_764_000_000 + 365 * 86_400),
        ("2027-01-01", 1_798_761_600),
        ("2027-01-01T00:00:00Z", 1_798_761_600),
        ("2027-01-01T01:00:00+01:00", 1_798_761_600),
        ("2027-01-01T00:00:00", 1_798_761_600),
    ],
)
def test_spans_dates_and_rfc3339_are_understood(text, expected):
    assert parse_expires(text, now=NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "30", "-1d", "0d", "2020-01-01", "2027-13-01", "999999y", "1d\x00", "٣d"]
)
def test_what_is_no_time_to_come_is_refused_with_the_forms(text):
    with pytest.raises(BadRequest) as caught:
        parse_expires(text, now=NOW)
    assert "2027-01-31" in caught.value.remedy

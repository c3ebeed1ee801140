"""Moments on the wire: Unix seconds or RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from skerry.errors import FieldRefused

UNIX_SECONDS = re.compile(r"-?[0-9]{1,15}")
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799


def unix_seconds(
    value: int | str | None, name: str, *, without_zone_is_utc: bool = False
) -> int | None:
    """Integer Unix seconds from themselves or from RFC 3339; FieldRefused names the field.

    A moment without a time zone is refused, or taken for UTC where documents are dated.
    """
    if value is None:
        return None
    if isinstance(value, str):
        is_number = UNIX_SECONDS.fullmatch(value)
        value = int(value) if is_number else _from_rfc3339(value, name, without_zone_is_utc)
    if not FIRST_SECOND <= value <= LAST_SECOND:
        raise FieldRefused(f"'{name}' lies outside the years 1 to 9999.", field=name)
    return value


def _from_rfc3339(text: str, name: str, without_zone_is_utc: bool) -> int:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and without_zone_is_utc:
            moment = moment.replace(tzinfo=UTC)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        raise FieldRefused(f"'{name}' is neither Unix seconds nor RFC 3339.", field=name) from None
    if moment.tzinfo is None:
        remedy = "Write 2026-01-31T12:00:00Z."
        raise FieldRefused(f"'{name}' has no time zone.", field=name, remedy=remedy)
    return seconds

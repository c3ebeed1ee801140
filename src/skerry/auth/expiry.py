"""When a key ends, as a person writes it."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from skerry.errors import BadRequest

UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
FORMS = "Write 30d (also m, h, w, y), 2027-01-31, or 2027-01-31T12:00:00Z."

_SPAN = re.compile(r"([0-9]{1,6})\s*([mhdwy])")


def parse_expires(text: str, *, now: float | None = None) -> int:
    """Unix seconds from a span ("30d"), a date (its first moment, UTC) or RFC 3339.

    A time without a zone is UTC. Raises BadRequest for another form and for a time that is past.
    """
    now = time.time() if now is None else now
    moment = _moment(text.strip(), now)
    if not now < moment < LATEST:
        raise BadRequest(f"'{text[:40]}' is not a time to come.", remedy=FORMS)
    return moment


def _moment(text: str, now: float) -> int:
    span = _SPAN.fullmatch(text)
    if span:
        return int(now) + int(span[1]) * UNITS_S[span[2]]
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise BadRequest(f"'{text[:40]}' is not a time.", remedy=FORMS) from None

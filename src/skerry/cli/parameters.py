"""Read the values that arguments and options take."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import Any, NoReturn

import click

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
SPAN = re.compile(r"(\d{1,6})\s*(min|h|d|w)")
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")
TRUTHS = {"true": True, "false": False}
Scalar = str | int | float | bool
SECONDS_IN = {"min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def tag(text: str) -> tuple[str, str]:
    """`NAME=VALUE`, split at the first `=`; the value stays text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"'{text}' is no tag: write NAME=VALUE, as in shelf=3.")
    return name.strip(), value


def tag_name(text: str) -> str:
    """The name of a tag: not empty, without `=`."""
    if not text.strip() or "=" in text:
        raise click.BadParameter(f"'{text}' is no tag's name.")
    return text.strip()


def is_image_id(text: str) -> bool:
    """Whether `text` is an id or a sha256 of a stored image."""
    return text.isascii() and (text.isdigit() or SHA256.fullmatch(text) is not None)


def instant(text: str) -> int:
    """Unix seconds from themselves or from a date, which is local time unless it says otherwise."""
    if text.isascii() and text.isdigit() and len(text) < 12:
        return int(text)
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"'{text}' is no time: write 2026-01-31, '2026-01-31 08:00' or Unix seconds."
        ) from None


def expiry(text: str) -> int:
    """An instant to come, or a span from now: `12h`, `30d`."""
    span = SPAN.fullmatch(text.strip())
    if span:
        return int(time.time()) + int(span[1]) * SECONDS_IN[span[2]]
    moment = instant(text)
    if moment <= time.time():
        raise click.BadParameter(f"'{text}' is past.")
    return moment


def scalar(text: str) -> tuple[str, Scalar]:
    """`NAME=VALUE`, where the value is what `spelled` reads; in quotes it stays text."""
    name, value = tag(text)
    if len(value) > 1 and value[0] == value[-1] == '"':
        return name, value[1:-1]
    return name, spelled(value)


def spelled(text: str) -> Scalar:
    """The number or truth value that is written as JSON writes it; 007 and 1e5 stay text."""
    if NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return TRUTHS.get(text, text)


def json_object(text: str) -> dict[str, Any]:
    """An object, written as JSON."""
    try:
        read = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"This is no JSON: {error}.") from None
    if not isinstance(read, dict):
        raise click.BadParameter('This is no JSON object: write {"category": "manuals"}.')
    return read


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

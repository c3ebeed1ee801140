"""Read the values that arguments and options take."""

from __future__ import annotations

import re

import click

SHA256 = re.compile(r"[0-9a-fA-F]{64}")


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

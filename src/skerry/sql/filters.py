"""Conditions and cursors of a listing, as SQL that stays prepared."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

import msgspec

from skerry.errors import BadRequest
from skerry.sql.base import Value

TagValue = str | int | float | bool


@dataclass(slots=True)
class Conditions:
    """Terms joined by AND, with their arguments."""

    terms: list[str] = field(default_factory=list)
    arguments: list[Value] = field(default_factory=list)

    @property
    def where(self) -> str:
        """`WHERE …`, or nothing."""
        return f"WHERE {' AND '.join(self.terms)}" if self.terms else ""

    def add(self, term: str, *arguments: Value) -> None:
        """One more term."""
        self.terms.append(term)
        self.arguments.extend(arguments)

    def add_tag(self, name: str, value: TagValue) -> None:
        """Images that carry the tag; a text also finds the number or truth value it spells."""
        forms = [value, *_spelled(value)] if isinstance(value, str) else [value]
        pairs = ", ".join("(?, ?)" for _ in forms)
        # As a list of pairs, not joined by OR, so that the index is searched by value too.
        self.add(
            "id IN (SELECT image_id FROM image_tags "
            f"WHERE name = ? AND (is_bool, value) IN (VALUES {pairs}))",
            name,
            *(part for form in forms for part in (isinstance(form, bool), form)),
        )


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page: the next one begins below it."""

    created_at: int
    id: int

    @property
    def text(self) -> str:
        """Opaque, safe in a URL."""
        return urlsafe_b64encode(f"{self.created_at}.{self.id}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The inverse of `text`; BadRequest for anything else."""
        try:
            plain = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            created_at, last_id = plain.split(".")
            cursor = cls(_int64(created_at), _int64(last_id))
        except (ValueError, binascii.Error):
            raise BadRequest(
                "The cursor is not one this node gave.", remedy="Start without a cursor."
            ) from None
        if cursor.text != text:
            raise BadRequest("The cursor was changed.", remedy="Start without a cursor.")
        return cursor


def _int64(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError("more than 64 bits")
    return value


def _spelled(text: str) -> list[TagValue]:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return []
    is_scalar = isinstance(value, int | float)
    return [value] if is_scalar and -(2**63) <= value < 2**63 else []

"""Whose a collection on a Qdrant server is and how far it has followed the log.

Told twice: in a record among the collection's points, and in a claim beside the node's own data.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import Any

import msgspec

from skerry.vectors.base import CollectionSpec
from skerry.vectors.files import write_atomically
from skerry.vectors.record import Unusable, check_fit

log = logging.getLogger(__name__)

FORMAT = 1
FILE_NAME = "qdrant.json"
EPOCH_LETTERS = 8


class Record(msgspec.Struct, frozen=True):
    """What the server holds; written in one request with the changes, after them.

    `token` is renewed at each opening and flush: who else writes to the collection shows by
    another one. `points` is what an exact count gave at a flush, None while changes came since.
    """

    spec: CollectionSpec
    token: str
    applied_seq: int = 0
    points: int | None = None
    format: int = FORMAT


class Claim(msgspec.Struct, frozen=True):
    """What this node knows of it. Written before the record, so the record may lag by one token."""

    collection: str
    token: str
    previous: str = ""
    applied_seq: int = 0

    def covers(self, record: Record) -> bool:
        """Whether this node wrote `record`, and nobody since."""
        return record.token in (self.token, self.previous)


def new_token() -> str:
    """A token nobody else has."""
    return secrets.token_hex(8)


def new_claim(spec: CollectionSpec) -> Claim:
    """A claim on a collection that does not exist yet, on a name no other node chooses."""
    token = new_token()
    return Claim(f"skerry-{spec.name}-{spec.epoch[:EPOCH_LETTERS]}-{token}", token)


def read_claim(folder: Path) -> Claim | None:
    """The claim kept in a generation's folder; None when there is none, or none to be read."""
    path = folder / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Claim)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s cannot be read: %s", path, error)
        return None


def write_claim(folder: Path, claim: Claim) -> None:
    """Replace the claim; synced on return."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE_NAME, msgspec.json.encode(claim))


def encode_record(record: Record) -> dict[str, Any]:
    """The record as JSON values."""
    encoded: dict[str, Any] = msgspec.to_builtins(record)
    return encoded


def decode_record(values: Any) -> Record | None:
    """The record in JSON values; None when they are none."""
    try:
        return msgspec.convert(values, Record)
    except msgspec.ValidationError:
        return None


def check_record(record: Record, spec: CollectionSpec, *, points: int) -> None:
    """Raise Unusable or SpaceMismatch when `spec` cannot be served from what holds `points`."""
    if record.format != FORMAT:
        raise Unusable(f"it has format {record.format}, this version writes {FORMAT}")
    check_fit(record.spec, spec)
    if record.points not in (None, points):
        raise Unusable(f"it holds {points} points, not the {record.points} written to it")

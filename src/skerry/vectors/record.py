"""What a collection's folder holds and how far it has followed the log: `applied.json`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.errors import SpaceMismatch
from skerry.vectors.base import CollectionSpec
from skerry.vectors.files import write_atomically

FORMAT = 1
FILE_NAME = "applied.json"
NOTHING = ""


class Record(msgspec.Struct):
    """Written after each flush, so that it never promises more than is on disk.

    `unindexed` counts points written and `deleted` points deleted since the graph was built.
    """

    spec: CollectionSpec
    format: int = FORMAT
    applied_seq: int = 0
    unindexed: int = 0
    deleted: int = 0


class Unusable(Exception):
    """What is on disk cannot be used; the message says why (NOTHING: nothing is there)."""


def read_record(folder: Path, spec: CollectionSpec) -> Record:
    """The record of a folder that `spec` can be opened from.

    Raises Unusable (absent, unreadable, of another format, log or set of fields), or
    SpaceMismatch when its vectors are of another space, size or distance.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise Unusable(f"it has no {FILE_NAME}" if folder.exists() else NOTHING)
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError) as error:
        raise Unusable(f"{FILE_NAME} cannot be read: {error}") from error
    if record.format != FORMAT:
        raise Unusable(f"it has format {record.format}, this version writes {FORMAT}")
    _check_vectors(record.spec, spec)
    if record.spec.epoch != spec.epoch:
        raise Unusable("it follows another database")
    if dict(record.spec.fields) != dict(spec.fields):
        raise Unusable("it has other payload fields")
    return record


def write_record(folder: Path, record: Record) -> None:
    """Replace the record; synced on return."""
    write_atomically(folder / FILE_NAME, msgspec.json.encode(record))


def _check_vectors(found: CollectionSpec, wanted: CollectionSpec) -> None:
    for name in ("space", "size", "distance"):
        if getattr(found, name) != getattr(wanted, name):
            raise SpaceMismatch(
                f"The index '{wanted.name}' holds vectors of {name} '{getattr(found, name)}', "
                f"not '{getattr(wanted, name)}'."
            )

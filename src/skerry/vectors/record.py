"""What a collection's folder holds and how far it has followed the log: `applied.json`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.errors import SpaceMismatch
from skerry.vectors.base import CollectionSpec
from skerry.vectors.files import write_atomically
from skerry.vectors.wire import Quantization

FORMAT = 2
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
    quantization: Quantization = "scalar"


class Unusable(Exception):
    """What is on disk cannot be used; the message says why (NOTHING: nothing is there)."""


def read_record(folder: Path, spec: CollectionSpec, *, quantization: Quantization) -> Record:
    """The record of a folder that `spec` can be opened from.

    Raises Unusable (absent, unreadable, of another format, log, set of fields or quantization), or
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
    check_fit(record.spec, spec)
    if record.quantization != quantization:
        raise Unusable(f"its vectors have quantization '{record.quantization}'")
    return record


def write_record(folder: Path, record: Record) -> None:
    """Replace the record; synced on return."""
    write_atomically(folder / FILE_NAME, msgspec.json.encode(record))


def check_fit(found: CollectionSpec, wanted: CollectionSpec) -> None:
    """Raise when what was built for `found` does not serve `wanted`.

    SpaceMismatch: its vectors are others. Unusable: it follows another log, or has other fields.
    """
    _check_vectors(found, wanted)
    if found.epoch != wanted.epoch:
        raise Unusable("it follows another database")
    if dict(found.fields) != dict(wanted.fields):
        raise Unusable("it has other payload fields")


def _check_vectors(found: CollectionSpec, wanted: CollectionSpec) -> None:
    for name in ("space", "size", "distance"):
        if getattr(found, name) != getattr(wanted, name):
            raise SpaceMismatch(
                f"The index '{wanted.name}' holds vectors of {name} '{getattr(found, name)}', "
                f"not '{getattr(wanted, name)}'."
            )

"""Hold tensors as views of a mapped file: of safetensors where they lie, or of a scratch file."""

from __future__ import annotations

import math
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
from numpy.typing import NDArray

from skerry.errors import ModelInvalid

HEADER_LENGTH_BYTES = 8
# As the format's own library has it.
MAX_HEADER_BYTES = 100_000_000
TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def map_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name, read from the file as they are touched; bfloat16 as `ml_dtypes` has it.

    Every offset is held against the file's size. Raises ModelInvalid.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_bytes = _header_length(file.read(HEADER_LENGTH_BYTES), size=size)
            header = file.read(header_bytes)
        entries = _entries(header)
        data = np.memmap(path, np.uint8, "r", offset=HEADER_LENGTH_BYTES + header_bytes)
        return {name: _view(data, entry, name=name) for name, entry in entries.items()}
    except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelInvalid(f"{path.name} is not a readable safetensors file: {reason}.") from error


def spill(tensors: Mapping[str, NDArray[Any]], folder: Path) -> dict[str, NDArray[Any]]:
    """The same tensors, out of memory: views of an unnamed file in `folder`.

    It has no name to be left behind, and is gone with the last view.
    """
    begins = {}
    with tempfile.TemporaryFile(dir=folder) as file:
        for name, value in tensors.items():
            begins[name] = file.tell()
            file.write(np.asarray(value, order="C").data)
        if file.tell() == 0:
            return dict(tensors)
        file.flush()
        data = np.memmap(file, np.uint8, "r")
    return {
        name: data[begin : begin + value.nbytes].view(value.dtype).reshape(value.shape)
        for (name, value), begin in zip(tensors.items(), begins.values(), strict=True)
    }


def _header_length(data: bytes, *, size: int) -> int:
    if len(data) != HEADER_LENGTH_BYTES:
        raise ValueError("it ends before its header")
    (length,) = struct.unpack("<Q", data)
    if length > min(MAX_HEADER_BYTES, size - HEADER_LENGTH_BYTES):
        raise ValueError("its header reaches beyond the file")
    return int(length)


def _entries(header: bytes) -> dict[str, _Entry]:
    raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
    raw.pop("__metadata__", None)
    return {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}


def _view(data: NDArray[np.uint8], entry: _Entry, *, name: str) -> NDArray[Any]:
    kind = TYPES.get(entry.dtype)
    if kind is None:
        raise ValueError(f"'{name}' has the type {entry.dtype}, which is not known")
    begin, end = entry.data_offsets
    if not 0 <= begin <= end <= data.size or any(length < 0 for length in entry.shape):
        raise ValueError(f"'{name}' reaches beyond the file")
    if end - begin != math.prod(entry.shape) * kind.itemsize:
        raise ValueError(f"'{name}' has another length than its shape says")
    return data[begin:end].view(kind).reshape(entry.shape)

"""Write an ONNX graph with its weights in a file beside it, aligned for memory mapping."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, numpy_helper

from skerry.models.files import sha256_of, write_synced
from skerry.models.manifest import StoredFile

# Tensors below this stay in the graph: shapes and scalars, which engines read while loading.
EMBED_BELOW_BYTES = 1024
# A page: ONNX Runtime and OpenVINO can then map each tensor where it lies.
ALIGNMENT_BYTES = 4096
FLOAT_BYTES = 4
WEIGHTS_DIGEST = "skerry.weights_sha256"


def write_graph(
    model: onnx.ModelProto, folder: Path, *, stem: str, mapped: Mapping[str, NDArray[Any]] = {}
) -> tuple[StoredFile, ...]:
    """Write `<stem>-<digest>.onnx` and its `.weights`, synced; returns the graph's file first.

    `mapped` holds, as float32 or less, the numbers of tensors that `model` only names: each is
    read when it is written, so that one at a time is in memory. The digest is of the weights and
    stands in the graph's metadata too, so that the graph's own sha256 speaks for both files.
    Equal weights give equal bytes. `model` is changed.
    """
    tensors = list(_large_tensors(model, mapped))
    unnamed = folder / f"{stem}.weights"
    digest = _write_weights(tensors, unnamed, mapped)
    name = f"{stem}-{digest[:12]}"
    properties = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, properties | {WEIGHTS_DIGEST: digest})
    weights = []
    if tensors:
        _set_location(tensors, f"{name}.weights")
        weights.append(stored_file(unnamed.rename(folder / f"{name}.weights")))
    graph = folder / f"{name}.onnx"
    write_synced(graph, model.SerializeToString(deterministic=True))
    return (stored_file(graph), *weights)


def stored_file(path: Path) -> StoredFile:
    """Name, sha256 and size of a file."""
    return StoredFile(file=path.name, sha256=sha256_of(path), bytes=path.stat().st_size)


def _large_tensors(
    model: onnx.ModelProto, mapped: Mapping[str, NDArray[Any]]
) -> Iterator[TensorProto]:
    """Tensors for the file of weights; the numbers of all others are put into the graph."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.STRING:
            continue
        if (value := mapped.get(tensor.name)) is not None:
            if value.size * FLOAT_BYTES >= EMBED_BELOW_BYTES:
                yield tensor
            else:
                tensor.raw_data = _float_bytes(value).tobytes()
            continue
        if not tensor.HasField("raw_data"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
        if len(tensor.raw_data) >= EMBED_BELOW_BYTES:
            yield tensor


def _write_weights(
    tensors: Sequence[TensorProto], path: Path, mapped: Mapping[str, NDArray[Any]]
) -> str:
    """Write the numbers of `tensors`, page by page; returns the digest of names and numbers."""
    digest = hashlib.sha256()
    if not tensors:
        return digest.hexdigest()
    with path.open("wb") as file:
        for tensor in tensors:
            value = mapped.get(tensor.name)
            data = tensor.raw_data if value is None else _float_bytes(value).data
            digest.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}\n".encode())
            digest.update(data)
            file.write(b"\0" * (-file.tell() % ALIGNMENT_BYTES))
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _float_bytes(value: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(value, dtype="<f4")


def _set_location(tensors: Sequence[TensorProto], file_name: str) -> None:
    """Say in each tensor where `_write_weights` has put its numbers."""
    offset = 0
    for tensor in tensors:
        offset += -offset % ALIGNMENT_BYTES
        length = len(tensor.raw_data) or math.prod(tensor.dims) * FLOAT_BYTES
        # The library asks for data in memory before it lets a tensor point elsewhere.
        tensor.raw_data = b""
        external_data_helper.set_external_data(tensor, file_name, offset, length)
        tensor.ClearField("raw_data")
        offset += length

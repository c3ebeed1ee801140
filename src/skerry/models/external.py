"""Write an ONNX graph with its weights in files beside it, aligned for memory mapping."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
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
PART = re.compile(r"(?:^|\.)(embeddings|layer\.\d+)\.")
"""A file for each layer of a text encoder, and one for its embeddings: what models have in common,
such as one that was trained further from another, can be one file on disk."""


def write_graph(
    model: onnx.ModelProto, folder: Path, *, stem: str, mapped: Mapping[str, NDArray[Any]] = {}
) -> tuple[StoredFile, ...]:
    """Write `<stem>-<digest>.onnx` and its `.weights`, synced; returns the graph's file first.

    Weights lie in one file or, of a text encoder, in one for each PART, named by its content.

    `mapped` holds, as float32 or less, the numbers of tensors that `model` only names: each is
    read when it is written, so that one at a time is in memory. The digest is of the weights and
    stands in the graph's metadata too, so that the graph's own sha256 speaks for both files.
    Equal weights give equal bytes. `model` is changed.
    """
    tensors = list(_large_tensors(model, mapped))
    digest, unnamed = _write_weights(tensors, folder, mapped)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, properties | {WEIGHTS_DIGEST: digest})
    weights = {}
    for part, path in unnamed.items():
        named = folder / f"{stem}-{sha256_of(path)[:12]}.weights"
        _set_location([one for one in tensors if _part(one) == part], named.name)
        weights[named] = stored_file(path.rename(named))
    graph = folder / f"{stem}-{digest[:12]}.onnx"
    write_synced(graph, model.SerializeToString(deterministic=True))
    return (stored_file(graph), *weights.values())


def read_graph(path: Path) -> onnx.ModelProto:
    """A graph that `write_graph` wrote, its weights in it."""
    # The library itself reads no weights from a file of several names, as models that share have.
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        if external_data_helper.uses_external_data(tensor):
            place = external_data_helper.ExternalDataInfo(tensor)
            with (path.parent / place.location).open("rb") as file:
                file.seek(place.offset)
                tensor.raw_data = file.read(place.length)
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
    return model


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
    tensors: Sequence[TensorProto], folder: Path, mapped: Mapping[str, NDArray[Any]]
) -> tuple[str, dict[str, Path]]:
    """Write the numbers of `tensors`, page by page.

    Returns the digest of names and numbers, and the file of each part.
    """
    digest = hashlib.sha256()
    paths: dict[str, Path] = {}
    with ExitStack() as stack:
        files = {}
        for tensor in tensors:
            part = _part(tensor)
            if part not in files:
                paths[part] = folder / f"{part}.unnamed"
                files[part] = stack.enter_context(paths[part].open("wb"))
            value = mapped.get(tensor.name)
            data = tensor.raw_data if value is None else _float_bytes(value).data
            digest.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}\n".encode())
            digest.update(data)
            files[part].write(b"\0" * (-files[part].tell() % ALIGNMENT_BYTES))
            files[part].write(data)
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    return digest.hexdigest(), paths


def _part(tensor: TensorProto) -> str:
    """The part of a model that a tensor belongs to; most models have only one."""
    found = PART.search(tensor.name)
    return found.group(1) if found else "rest"


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

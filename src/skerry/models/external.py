"""Write an ONNX graph with its weights in a file beside it, aligned for memory mapping."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper, numpy_helper

from skerry.models.files import sha256_of, write_synced
from skerry.models.manifest import StoredFile

# Tensors below this stay in the graph: shapes and scalars, which engines read while loading.
EMBED_BELOW_BYTES = 1024
# A page: ONNX Runtime and OpenVINO can then map each tensor where it lies.
ALIGNMENT_BYTES = 4096
WEIGHTS_DIGEST = "skerry.weights_sha256"


def write_graph(model: onnx.ModelProto, folder: Path, *, stem: str) -> tuple[StoredFile, ...]:
    """Write `<stem>-<digest>.onnx` and its `.weights`, synced; returns the graph's file first.

    The digest is of the weights and stands in the graph's metadata too, so that the graph's own
    sha256 speaks for both files. Equal weights give equal bytes. `model` is changed.
    """
    tensors = list(_large_tensors(model))
    digest = _digest(tensors)
    name = f"{stem}-{digest[:12]}"
    properties = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, properties | {WEIGHTS_DIGEST: digest})
    weights = [_write_weights(tensors, folder / f"{name}.weights")] if tensors else []
    graph = folder / f"{name}.onnx"
    write_synced(graph, model.SerializeToString(deterministic=True))
    return (stored_file(graph), *weights)


def stored_file(path: Path) -> StoredFile:
    """Name, sha256 and size of a file."""
    return StoredFile(file=path.name, sha256=sha256_of(path), bytes=path.stat().st_size)


def _large_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.STRING:
            continue
        if not tensor.HasField("raw_data"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
        if len(tensor.raw_data) >= EMBED_BELOW_BYTES:
            yield tensor


def _digest(tensors: list[TensorProto]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}\n".encode())
        digest.update(tensor.raw_data)
    return digest.hexdigest()


def _write_weights(tensors: list[TensorProto], path: Path) -> StoredFile:
    with path.open("wb") as file:
        for tensor in tensors:
            file.write(b"\0" * (-file.tell() % ALIGNMENT_BYTES))
            offset = file.tell()
            file.write(tensor.raw_data)
            external_data_helper.set_external_data(tensor, path.name, offset, file.tell() - offset)
            tensor.ClearField("raw_data")
        file.flush()
        os.fsync(file.fileno())
    return stored_file(path)

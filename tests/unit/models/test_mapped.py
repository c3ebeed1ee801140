"""Safetensors are read where they lie, and an offset beyond the file is refused."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from skerry.errors import ModelInvalid
from skerry.models.mapped import map_safetensors, spill

from .text_making import TinyEncoder


def write(path: Path, header: Any, data: bytes = bytes(16), *, length: int | None = None) -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", length or len(encoded)) + encoded + data)
    return path


def test_tensors_are_views_of_the_file(tmp_path: Path) -> None:
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.asarray([1.5, -2.0], np.float16),
        "c": np.asarray([7], np.int64),
    }
    save_file(tensors, tmp_path / "m.safetensors", metadata={"format": "pt"})
    found = map_safetensors(tmp_path / "m.safetensors")
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert np.array_equal(found[name], value)
        assert not found[name].flags.owndata
        assert not found[name].flags.writeable


def test_bfloat16_is_read_as_numbers(tmp_path: Path) -> None:
    values = np.asarray([1.0, -0.5, 3.140625], ml_dtypes.bfloat16)
    entry = {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}
    path = write(tmp_path / "m.safetensors", {"x": entry}, values.tobytes())
    assert map_safetensors(path)["x"].astype(np.float32).tolist() == [1.0, -0.5, 3.140625]


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]},
        {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]},
        {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": [5], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 10**30]},
        {"dtype": "F4", "shape": [4], "data_offsets": [0, 16]},
        {"shape": [4]},
        7,
    ],
)
def test_an_entry_that_cannot_be_is_refused(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(ModelInvalid, match="not a readable safetensors file"):
        map_safetensors(write(tmp_path / "m.safetensors", {"x": entry}))


@pytest.mark.parametrize("length", [1 << 63, 1000, 3])
def test_a_header_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    with pytest.raises(ModelInvalid):
        map_safetensors(write(tmp_path / "m.safetensors", {"x": entry}, length=length))


@pytest.mark.parametrize("header", [b"", b"[]", b"\xff\xfe", b'{"a":' * 200_000, b"null"])
def test_a_header_that_is_no_object_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(ModelInvalid):
        map_safetensors(write(tmp_path / "m.safetensors", header))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path_factory: Any, data: st.DataObject) -> None:
    whole = bytearray(save({"a": np.zeros((2, 3), np.float32), "b": np.ones(5, np.int32)}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "m.safetensors"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        tensors = map_safetensors(path)
    except ModelInvalid:
        return
    for value in tensors.values():
        value.tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_conversion_holds_one_tensor_in_memory_at_a_time(tmp_path: Path) -> None:
    folder = TinyEncoder(hidden=128, vocabulary=60_000).save(tmp_path / "folder")
    copied, size = convert(folder, tmp_path / "copied", how="copied")
    assert copied > 0.9 * size, "the measurement does not see copies"
    mapped, _ = convert(folder, tmp_path / "read", how="read")
    assert mapped < 0.5 * size
    graphs = [next((tmp_path / how).glob("*.onnx")).read_bytes() for how in ("copied", "read")]
    assert graphs[0] == graphs[1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_conversion_holds_one_pickle_of_several_in_memory_at_a_time(tmp_path: Path) -> None:
    tiny = TinyEncoder(hidden=128, vocabulary=30_000, positions=30_000)
    folder = tiny.save(tmp_path / "folder", form="pickles")
    grown, size = convert(folder, tmp_path / "out", how="read")
    largest = max(file.stat().st_size for file in folder.glob("*.bin"))
    assert largest < 0.6 * size
    assert grown < 1.5 * largest


def convert(folder: Path, out: Path, *, how: str) -> tuple[int, int]:
    """By how much a process grew that converted `folder`, and the size of the weights."""
    out.mkdir()
    command = [sys.executable, "-m", "tests.unit.models.conversion_child"]
    command += [str(folder), str(out), how]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    grown, size = (int(word) for word in done.stdout.split())
    return grown, size


def test_spilled_tensors_are_the_same_and_leave_no_file(tmp_path: Path) -> None:
    tensors = {
        "odd": np.asarray([1, 2, 3], np.int8),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "number": np.asarray(2.5, np.float32),
        "none": np.zeros((0, 4), np.float32),
    }
    found = spill(tensors, tmp_path)
    assert list(tmp_path.iterdir()) == []
    for name, value in tensors.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert np.array_equal(found[name], value)
        assert not found[name].flags.owndata

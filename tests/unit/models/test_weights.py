"""Files of weights become float32 tensors by name, whatever their form."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from skerry.errors import ModelInvalid
from skerry.models.weights import read_weights

from .making import write_checkpoint


def test_safetensors_of_any_float_come_as_float32(tmp_path: Path) -> None:
    values = np.asarray([1.5, -2.0, 0.25], np.float32)
    tensors = {
        "single": values,
        "half": values.astype(np.float16),
        "brain": values.astype(ml_dtypes.bfloat16),
    }
    save_file(tensors, tmp_path / "m.safetensors")
    weights = read_weights(tmp_path / "m.safetensors")
    assert all(weights[name].dtype == np.float32 for name in tensors)
    assert all(np.array_equal(weights[name], values) for name in tensors)


def test_the_prefix_of_a_parallel_wrapper_is_dropped(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "m.bin", {"module.fc.weight": np.ones(2, np.float32)})
    assert set(read_weights(path)) == {"fc.weight"}


def test_weights_that_are_not_numbers_are_refused_by_name(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "m.pth", {"fc.bias": np.asarray([1, np.nan], np.float32)})
    with pytest.raises(ModelInvalid, match=r"'fc\.bias'"):
        read_weights(path)


def test_a_damaged_safetensors_file_is_invalid(tmp_path: Path) -> None:
    save_file({"w": np.ones(100, np.float32)}, tmp_path / "m.safetensors")
    whole = (tmp_path / "m.safetensors").read_bytes()
    for length in (0, 4, 30, len(whole) - 1):
        (tmp_path / "m.safetensors").write_bytes(whole[:length])
        with pytest.raises(ModelInvalid, match=r"m\.safetensors"):
            read_weights(tmp_path / "m.safetensors")


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid) as caught:
        read_weights(tmp_path / "model.h5")
    assert ".safetensors" in caught.value.remedy
    assert ".onnx" in caught.value.remedy

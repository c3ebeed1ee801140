"""Checkpoints are read as torch wrote them, and nothing in them is ever run."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from skerry.errors import ModelInvalid, PickleRefused
from skerry.models.pickles import read_checkpoint

from .making import malicious_pickle, random_resnet, state_dict_pickle, write_checkpoint

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth"])
def test_tensors_of_both_formats_come_as_torch_wrote_them(name: str) -> None:
    base = np.arange(24, dtype=np.float32).reshape(6, 4)
    expected = {
        "plain": base,
        "transposed": base.T,
        "strided": base[1:3, ::2],
        "half": base[0].astype(np.float16),
        "bfloat16": base[0],
        "integers": np.arange(5),
        "parameter": base[0],
        "scalar": np.asarray(3),
        "empty": np.zeros((0, 3), np.float32),
        "flags": np.asarray([True, False]),
    }
    tensors = read_checkpoint(DATA / name)
    assert set(tensors) == set(expected)
    for key, value in expected.items():
        assert tensors[key].dtype == value.dtype, key
        assert tensors[key].shape == value.shape, key
        assert np.array_equal(tensors[key], value), key


@pytest.mark.parametrize("name", ["training.pth", "training-legacy.pth"])
def test_a_state_dict_within_a_training_checkpoint_is_found(name: str) -> None:
    tensors = read_checkpoint(DATA / name)
    assert set(tensors) == {"weight", "bias"}
    assert np.array_equal(tensors["weight"], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_a_pickled_module_is_refused_by_its_class() -> None:
    with pytest.raises(PickleRefused, match=r"torch\.nn\.modules\.linear\.Linear") as caught:
        read_checkpoint(DATA / "whole-module.pth")
    assert "state_dict()" in caught.value.remedy


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_malicious_pickle_is_refused_by_name_and_not_run(tmp_path: Path, form: str) -> None:
    trace = tmp_path / "it-ran"
    attack = malicious_pickle(os.mkdir, str(trace))
    path = tmp_path / "model.pth"
    if form == "zip":
        write_checkpoint(path, {}, data_pickle=attack)
    else:
        path.write_bytes(attack)
    with pytest.raises(PickleRefused, match=r"'posix\.mkdir'"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("os", "system"),
        ("torch", "load"),
        ("collections", "OrderedDict.fromkeys"),
        ("numpy", "fromfile"),
        ("skerry.models.pickles", "read_checkpoint"),
    ],
)
def test_no_other_global_is_given(tmp_path: Path, module: str, name: str) -> None:
    text = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
    path = write_checkpoint(tmp_path / "m.pth", {}, data_pickle=b"\x80\x04" + text + b"\x93.")
    with pytest.raises(PickleRefused, match=f"'{module}.{name}'"):
        read_checkpoint(path)


def test_what_a_pickle_does_to_a_class_it_was_given_ends_with_it(tmp_path: Path) -> None:
    # BUILD with a state sets attributes on whatever stands on the stack, here the class itself.
    poison = b"\x80\x02ccollections\nOrderedDict\nN}X\x05\x00\x00\x00itemsK\x01s\x86b."
    path = write_checkpoint(tmp_path / "m.pth", {}, data_pickle=poison)
    with pytest.raises(ModelInvalid):
        read_checkpoint(path)
    good = write_checkpoint(tmp_path / "good.pth", {"w": np.ones(2, np.float32)})
    assert np.array_equal(read_checkpoint(good)["w"], [1, 1])


def test_a_tensor_may_not_reach_beyond_its_storage(tmp_path: Path) -> None:
    tensors = {"w": np.arange(6, dtype=np.float32)}
    honest = state_dict_pickle(tensors)
    shape = b"(J" + struct.pack("<i", 6) + b"t"
    assert honest.count(shape) == 1
    greedy = honest.replace(shape, b"(J" + struct.pack("<i", 600) + b"t")
    path = write_checkpoint(tmp_path / "m.pth", tensors, data_pickle=greedy)
    with pytest.raises(ModelInvalid, match="beyond its storage"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth"])
def test_a_truncated_checkpoint_is_invalid(tmp_path: Path, name: str) -> None:
    whole = (DATA / name).read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelInvalid):
            read_checkpoint(path)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "training-legacy.pth"])
def test_flipped_bytes_never_give_more_than_an_error(tmp_path: Path, name: str) -> None:
    whole = bytearray((DATA / name).read_bytes())
    path = tmp_path / "flipped.pth"
    rng = np.random.default_rng(0)
    for _ in range(300):
        at, value = int(rng.integers(len(whole))), int(rng.integers(256))
        before, whole[at] = whole[at], value
        path.write_bytes(whole)
        whole[at] = before
        try:
            tensors = read_checkpoint(path)
        except ModelInvalid:
            continue
        assert sum(tensor.nbytes for tensor in tensors.values()) < 1 << 20


def test_a_pickle_that_holds_no_tensors_is_invalid(tmp_path: Path) -> None:
    for value in ([1, 2], {"epoch": 3}, {"state_dict": {}}, "text"):
        path = write_checkpoint(tmp_path / "m.pth", {}, data_pickle=pickle.dumps(value))
        with pytest.raises(ModelInvalid, match="state dict"):
            read_checkpoint(path)


def test_a_whole_resnet_survives_the_way_through_a_checkpoint(tmp_path: Path) -> None:
    weights = random_resnet(18)
    tensors = read_checkpoint(write_checkpoint(tmp_path / "m.pth", weights))
    assert set(tensors) == set(weights)
    assert all(np.array_equal(tensors[name], value) for name, value in weights.items())

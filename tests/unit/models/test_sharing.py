"""Models that hold the same layers have them on disk once, and each outlives the other."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from skerry.models.manifest import AnyModel
from skerry.models.sharing import shared_bytes, stored_bytes
from skerry.models.store import ModelStore

from .test_encoders import feed, run
from .text_making import TinyEncoder

Array = NDArray[Any]
CHANGED = "encoder.layer.1.output.dense.weight"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", known={})


def add_pair(store: ModelStore, tmp_path: Path) -> tuple[AnyModel, AnyModel]:
    """A model, and one that was trained further from it in its last layer."""
    tiny = TinyEncoder()
    first = store.add_folder(tiny.save(tmp_path / "first"), name="first")
    tiny.weights[CHANGED] = 2 * tiny.weights[CHANGED]
    return first, store.add_folder(tiny.save(tmp_path / "second"), name="second")


def by_onnxruntime(model: AnyModel) -> Array:
    return np.asarray(run(model, *TinyEncoder().batch(3, 8)))


def by_openvino(model: AnyModel) -> Array:
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    path = model.path(model.manifest.variants[0])
    compiled = openvino.Core().compile_model(path, "CPU", exact)
    return np.asarray(compiled(feed(model, *TinyEncoder().batch(3, 8)))[0])


def weights_of(model: AnyModel) -> set[str]:
    return {file.file for file in model.manifest.variants[0].weights}


def same_file(first: AnyModel, second: AnyModel, name: str) -> bool:
    return (first.folder / name).samefile(second.folder / name)


def test_what_two_models_have_in_common_is_one_file(store: ModelStore, tmp_path: Path) -> None:
    first, second = add_pair(store, tmp_path)
    common = weights_of(first) & weights_of(second)
    # The embeddings and the first layer; the changed layer is each one's own.
    assert len(common) == 2
    assert len(weights_of(first) ^ weights_of(second)) == 2
    assert all(same_file(first, second, name) for name in common)


@pytest.mark.parametrize("read", [by_onnxruntime, by_openvino])
def test_engines_read_weights_of_several_names(
    store: ModelStore, tmp_path: Path, read: Callable[[AnyModel], Array]
) -> None:
    first, _ = add_pair(store, tmp_path)
    expected = TinyEncoder().embedding(*TinyEncoder().batch(3, 8), "mean")
    assert np.allclose(read(first), expected, atol=1e-5)


def test_each_of_them_outlives_the_other(store: ModelStore, tmp_path: Path) -> None:
    first, second = add_pair(store, tmp_path)
    ids, mask = TinyEncoder().batch(3, 8)
    before = run(second, ids, mask)
    assert not np.allclose(run(first, ids, mask), before)
    store.remove("first")
    assert np.array_equal(run(store.verify("second"), ids, mask), before)


def test_sizes_say_what_is_shared(store: ModelStore, tmp_path: Path) -> None:
    first, second = add_pair(store, tmp_path)
    folders = [first.folder, second.folder]
    common = weights_of(first) & weights_of(second)
    shared = sum((second.folder / name).stat().st_size for name in common)
    assert [shared_bytes(folder, folders) for folder in folders] == [shared, shared]
    together = sum(stored_bytes(folder) for folder in folders) - shared
    assert stored_bytes(store.folder) == together
    store.remove("first")
    assert shared_bytes(second.folder, [second.folder]) == 0


def test_without_hard_links_each_keeps_its_copy(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    caplog.set_level(logging.INFO)
    first, second = add_pair(store, tmp_path)
    common = weights_of(first) & weights_of(second)
    assert not any(same_file(first, second, name) for name in common)
    assert "is not shared with first: Operation not permitted" in caplog.text
    store.verify("second")


def test_a_damaged_file_is_not_handed_on(store: ModelStore, tmp_path: Path) -> None:
    tiny = TinyEncoder()
    first = store.add_folder(tiny.save(tmp_path / "first"), name="first")
    for name in weights_of(first):
        path = first.folder / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    second = store.add_folder(tmp_path / "first", name="second")
    assert store.verify("second") == second

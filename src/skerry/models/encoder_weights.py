"""Find the weights in a Hugging Face folder and name them as the bare encoder does."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import msgspec
from numpy.typing import NDArray

from skerry.errors import ModelInvalid
from skerry.models.json_files import read_json
from skerry.models.mapped import map_safetensors
from skerry.models.weights import Weights, read_weights

SAFETENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLE_FILE = "pytorch_model.bin"
ONNX_FILES = ("model.onnx", "onnx/model.onnx")
# What a model with a head calls its encoder.
ENCODERS = ("bert.", "roberta.", "distilbert.")
# Names of the time before PyTorch, which old checkpoints still have.
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def find_onnx(folder: Path) -> Path | None:
    """The graph to use, if there is no safetensors file to build one from."""
    if (folder / SAFETENSORS_FILE).is_file() or (folder / INDEX_FILE).is_file():
        return None
    named = [path for name in ONNX_FILES if (path := folder / name).is_file()]
    others = sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
    if not named and len(others) > 1:
        names = ", ".join(path.name for path in others)
        raise ModelInvalid(
            f"There are several graphs in {folder.name}: {names}.",
            remedy="Name the one to use model.onnx.",
        )
    return next(iter(named or others), None)


def read_encoder_weights(folder: Path) -> Weights:
    """Tensors under the bare encoder's names; safetensors stay in their mapped file.

    Raises ModelInvalid, and PickleRefused for a pickle that holds more than tensors.
    """
    return plainly_named(read_tensors(folder))


def read_tensors(folder: Path) -> Weights:
    """The same tensors under the names they are stored with."""
    path = weights_file(folder)
    if path.name == INDEX_FILE:
        return _shards(folder)
    return map_safetensors(path) if path.suffix == ".safetensors" else read_weights(path)


def plainly_named(tensors: Weights) -> Weights:
    """The tensors under the bare encoder's names, without `bert.` and the like."""
    return {_plain(name): value for name, value in tensors.items()}


def weights_file(folder: Path) -> Path:
    """The file that stands for the weights; ModelInvalid when there is none."""
    names = (SAFETENSORS_FILE, INDEX_FILE)
    found = next((path for name in names if (path := folder / name).is_file()), None)
    found = found or find_onnx(folder)
    if found is None and (folder / PICKLE_FILE).is_file():
        found = folder / PICKLE_FILE
    if found is None:
        raise ModelInvalid(
            f"There are no weights in {folder.name}.",
            remedy=f"Needed: {SAFETENSORS_FILE}, model.onnx or {PICKLE_FILE}.",
        )
    return found


def _shards(folder: Path) -> dict[str, NDArray[Any]]:
    """Tensors of all files that the index names, each a plain name in the folder."""
    tensors: dict[str, NDArray[Any]] = {}
    for name in sorted(set(read_json(folder / INDEX_FILE, _Index).weight_map.values())):
        if PurePath(name).name != name or not name.endswith(".safetensors"):
            raise ModelInvalid(f"{INDEX_FILE} names '{name}', which is no file of its folder.")
        tensors |= map_safetensors(folder / name)
    return tensors


def _plain(name: str) -> str:
    for prefix in ENCODERS:
        name = name.removeprefix(prefix)
    for old, new in OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name

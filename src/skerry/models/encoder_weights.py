"""Find the weights in a Hugging Face folder and name them as the bare encoder does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

import msgspec

from skerry.errors import ModelInvalid
from skerry.models.json_files import read_json
from skerry.models.mapped import map_safetensors, spill
from skerry.models.weights import Weights, read_weights

SAFETENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLE_FILE = "pytorch_model.bin"
PICKLE_INDEX_FILE = "pytorch_model.bin.index.json"
ONNX_FILES = ("model.onnx", "onnx/model.onnx")
# What a model with a head calls its encoder.
ENCODERS = ("bert.", "roberta.", "distilbert.", "mpnet.")
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


def read_encoder_weights(folder: Path, *, scratch: Path) -> Weights:
    """Tensors under the bare encoder's names; safetensors stay in their mapped file.

    Of pickles in several files, one at a time is in memory: the others lie in `scratch`, without
    a name. Raises ModelInvalid, and PickleRefused for a pickle that holds more than tensors.
    """
    return plainly_named(read_tensors(folder, scratch=scratch))


def read_tensors(folder: Path, *, scratch: Path) -> Weights:
    """The same tensors under the names they are stored with."""
    path = weights_file(folder)
    if path.name not in (INDEX_FILE, PICKLE_INDEX_FILE):
        return map_safetensors(path) if path.suffix == ".safetensors" else read_weights(path)
    tensors: Weights = {}
    for shard in _shards(path):
        if shard.suffix == ".safetensors":
            tensors |= map_safetensors(shard)
        else:
            tensors |= spill(read_weights(shard), scratch)
    return tensors


def plainly_named(tensors: Weights) -> Weights:
    """The tensors under the bare encoder's names, without `bert.` and the like."""
    return {_plain(name): value for name, value in tensors.items()}


def weights_file(folder: Path) -> Path:
    """The file that stands for the weights; ModelInvalid when there is none."""
    names = (SAFETENSORS_FILE, INDEX_FILE)
    found = next((path for name in names if (path := folder / name).is_file()), None)
    found = found or find_onnx(folder)
    pickles = (PICKLE_FILE, PICKLE_INDEX_FILE)
    found = found or next((path for name in pickles if (path := folder / name).is_file()), None)
    if found is None:
        raise ModelInvalid(
            f"There are no weights in {folder.name}.",
            remedy=f"Needed: {SAFETENSORS_FILE}, model.onnx or {PICKLE_FILE}; of the first and the "
            "last, several files with their index.",
        )
    return found


def _shards(index: Path) -> Iterator[Path]:
    """The files that an index names, each a plain name in its folder; ModelInvalid."""
    suffix = ".safetensors" if index.name == INDEX_FILE else ".bin"
    for name in sorted(set(read_json(index, _Index).weight_map.values())):
        if PurePath(name).name != name or not name.endswith(suffix):
            raise ModelInvalid(f"{index.name} names '{name}', which is no file of its folder.")
        if not (index.parent / name).is_file():
            raise ModelInvalid(f"{index.name} names '{name}', which is not there.")
        yield index.parent / name


def _plain(name: str) -> str:
    for prefix in ENCODERS:
        name = name.removeprefix(prefix)
    for old, new in OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name

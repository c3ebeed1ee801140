"""Read a file of named tensors: safetensors, or a torch checkpoint by the restricted unpickler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from skerry.errors import ModelInvalid
from skerry.models.pickles import read_checkpoint

Weights = dict[str, NDArray[Any]]
PICKLE_SUFFIXES = (".pth", ".pt", ".bin")
WEIGHT_SUFFIXES = (*PICKLE_SUFFIXES, ".safetensors")


def read_weights(path: Path) -> Weights:
    """Tensors by name; floats come as float32, the `module.` of a parallel wrapper is dropped.

    Raises ModelInvalid (PickleRefused for a pickle that holds more than tensors).
    """
    if path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    elif path.suffix in PICKLE_SUFFIXES:
        tensors = read_checkpoint(path)
    else:
        raise ModelInvalid(
            f"{path.name} is not a file of weights.",
            remedy=f"Known: {', '.join(WEIGHT_SUFFIXES)}, and .onnx for whole graphs.",
        )
    prefix = "module." if all(name.startswith("module.") for name in tensors) else ""
    return {
        name.removeprefix(prefix): _checked(value, name=name) for name, value in tensors.items()
    }


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ModelInvalid(f"{path.name} is not a readable safetensors file: {reason}.") from error


def _checked(value: NDArray[Any], *, name: str) -> NDArray[Any]:
    if value.dtype.kind in "iub":
        return value
    value = value.astype(np.float32, copy=False)
    if not np.isfinite(value).all():
        raise ModelInvalid(f"The tensor '{name}' holds values that are not finite numbers.")
    return value

"""ResNet50 with random weights: as costly as the trained one, and good for nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _photos import WORK
from _processes import MODELS
from safetensors.numpy import save_file

from skerry.models.store import ModelStore

NAME = "resnet50"
PRESET = "imagenet-224-stretch-lanczos"
BLOCKS = (3, 4, 6, 3)
# Branches that add little to their trunk keep the signal's size through fifty layers.
BRANCH_GAIN = 0.3


def install_resnet50(calibration: Path) -> str:
    """Add the model and its INT8 variant to the benchmarks' models; what quantize said of it.

    What is there already is left as it is.
    """
    store = ModelStore(MODELS)
    if NAME not in {model.manifest.name for model in store.list()}:
        weights = WORK / f"{NAME}.safetensors"
        save_file(dict(random_weights()), weights)
        _skerry("models", "add", str(weights), "--labels", "imagenet-1k", "--preprocess", PRESET)
        weights.unlink()
    if store.get(NAME).manifest.variant("int8") is None:
        # Agreement of random weights says nothing of trained ones: every result is let pass.
        bounds = ["--min-agreement", "0", "--min-cosine", "0"]
        _skerry("quantize", NAME, "--data", str(calibration), *bounds)
    variant = store.get(NAME).manifest.variant("int8")
    if variant is None:
        raise SystemExit("quantize made no INT8 variant")
    return f"agreement {variant.agreement:.3f}, cosine {variant.cosine:.4f}"


def random_weights() -> Iterator[tuple[str, np.ndarray]]:
    """Tensors under torchvision's names (He et al. 2015: variance 2 / fan-in)."""
    chance = np.random.default_rng(50)

    def conv(name: str, out: int, into: int, size: int) -> tuple[str, np.ndarray]:
        scale = np.float32((2 / (into * size * size)) ** 0.5)
        return name, scale * chance.standard_normal((out, into, size, size), np.float32)

    yield conv("conv1.weight", 64, 3, 7)
    yield from _norm("bn1", 64)
    into = 64
    for stage, blocks in enumerate(BLOCKS, start=1):
        width = 64 * 2 ** (stage - 1)
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            sizes = ((width, into, 1), (width, width, 3), (4 * width, width, 1))
            for number, (out, inputs, size) in enumerate(sizes, start=1):
                yield conv(f"{at}.conv{number}.weight", out, inputs, size)
                yield from _norm(f"{at}.bn{number}", out, gain=BRANCH_GAIN if number == 3 else 1.0)
            if block == 0:
                yield conv(f"{at}.downsample.0.weight", 4 * width, into, 1)
                yield from _norm(f"{at}.downsample.1", 4 * width)
            into = 4 * width
    yield "fc.weight", np.float32(0.05) * chance.standard_normal((1000, into), np.float32)
    yield "fc.bias", np.zeros(1000, np.float32)


def _norm(name: str, size: int, *, gain: float = 1.0) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{name}.weight", np.full(size, gain, np.float32)
    yield f"{name}.bias", np.zeros(size, np.float32)
    yield f"{name}.running_mean", np.zeros(size, np.float32)
    yield f"{name}.running_var", np.ones(size, np.float32)


def _skerry(*words: str) -> None:
    command = [sys.executable, "-m", "skerry", *words]
    subprocess.run(command, env=os.environ | {"SKERRY_MODELS": str(MODELS)}, check=True)

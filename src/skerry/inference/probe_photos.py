"""The shipped photos on which precisions are compared."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from skerry.inference.base import Float32
from skerry.media.images import decode
from skerry.models.manifest import Preprocess

FOLDER = "data/probe"


def probe_tensors(preprocess: Preprocess) -> Float32:
    """The probe photos as float32 (n, 3, size, size); their origin is in the folder's README."""
    folder = files("skerry.inference") / FOLDER
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".jpg"))
    return np.stack([decode((folder / name).read_bytes(), preprocess) for name in names])

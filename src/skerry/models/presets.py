"""Named ways to prepare an image, for models that come without a description."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import product
from typing import get_args

import msgspec

from skerry.errors import ConfigError
from skerry.models.manifest import Crop, Preprocess, Resample

# torchvision's mean and standard deviation, which are of 0..1, in grey levels.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
IMAGENET_CROP_FRACTION = 224 / 256
# EfficientNet-Lite was trained with its own: ImageNet's cost lite2 eight points of accuracy.
LITE_MEAN = (127.0, 127.0, 127.0)
LITE_STD = (128.0, 128.0, 128.0)
LITE_CROP_MARGIN = 32
CROPS: dict[str, Crop] = {"crop": "center", "stretch": "stretch"}
LITE_SIZES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}


def preset(name: str) -> Preprocess:
    """The preprocessing of this name; ConfigError naming the nearest known one."""
    known = presets()
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.0)
        raise ConfigError(
            f"Unknown preset '{name}'.",
            remedy=f"Did you mean '{near[0]}'? Known: {', '.join(known)}.",
        )
    return known[name]


def presets() -> dict[str, Preprocess]:
    """All presets by name; `imagenet-224` is torchvision's own: centre crop, bilinear."""
    named = {"imagenet-224": _imagenet("center", "bilinear")}
    for (word, crop), resample in product(CROPS.items(), get_args(Resample)):
        named[f"imagenet-224-{word}-{resample}"] = _imagenet(crop, resample)
    return named | {name: _lite(size) for name, size in LITE_SIZES.items()}


def resized(preprocess: Preprocess, size: int) -> Preprocess:
    """The same preparation for images of another size."""
    return msgspec.structs.replace(preprocess, size=size)


def _imagenet(crop: Crop, resample: Resample) -> Preprocess:
    return Preprocess(
        size=224,
        crop=crop,
        resample=resample,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        crop_fraction=IMAGENET_CROP_FRACTION if crop == "center" else 1.0,
    )


def _lite(size: int) -> Preprocess:
    return Preprocess(
        size=size,
        crop="center",
        resample="bicubic",
        mean=LITE_MEAN,
        std=LITE_STD,
        crop_fraction=size / (size + LITE_CROP_MARGIN),
    )

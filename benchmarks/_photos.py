"""Make JPEGs like those a camera sends, out of the scikit-image wheel's free photos."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from skerry.models.wheels import fetch_members

WHEEL = "scikit-image==0.26.0"
SOURCES = (
    "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg",
    "grass.png", "gravel.png", "brick.png", "camera.png",
)  # fmt: skip
WORK = Path(tempfile.gettempdir()) / "skerry-benchmarks"
QUALITY = 90
# Enlarged photos have lost their finest detail, and sensors add some of their own.
NOISE_LEVELS = 4.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A set of photos: its name, and the bounds of sizes in bytes and of the longer side."""

    name: str
    min_bytes: int
    max_bytes: int
    min_side: int
    max_side: int


TYPICAL = Kind("typical", 85_000, 115_000, 480, 1024)
"""Around 100 KB, as the figures are promised for."""
VARIED = Kind("varied", 5_000, 150_000, 240, 720)
"""Small to middling, for stores of thousands."""


def photos(kind: Kind, count: int) -> list[Path]:
    """`count` distinct JPEGs of `kind`; made once per machine and kept in the temporary folder."""
    folder = WORK / kind.name
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    if missing:
        sources = _sources()
        with ProcessPoolExecutor() as pool:
            make = partial(_make, kind=kind, sources=sources, folder=folder)
            list(pool.map(make, missing, chunksize=16))
    return paths


def describe(paths: Sequence[Path]) -> str:
    """Sizes of a set in words."""
    sizes = sorted(path.stat().st_size for path in paths)
    pixels = []
    for path in paths[:200]:
        with Image.open(path) as image:
            pixels.append(image.width * image.height)
    return (
        f"{len(paths)} JPEGs, quality {QUALITY}, {sizes[0] / 1e3:.0f} to {sizes[-1] / 1e3:.0f} KB "
        f"(median {sizes[len(sizes) // 2] / 1e3:.0f}), {np.median(pixels) / 1e6:.2f} megapixels"
    )


def _sources() -> list[Path]:
    folder = WORK / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [folder / name for name in SOURCES]
    if not all(path.is_file() for path in wanted):
        for path in wanted:
            path.unlink(missing_ok=True)
        fetch_members(WHEEL, [f"skimage/data/{name}" for name in SOURCES], into=folder)
    return wanted


def _make(number: int, *, kind: Kind, sources: Sequence[Path], folder: Path) -> None:
    chance = random.Random(f"{kind.name} {number}")
    side = chance.randint(kind.min_side, kind.max_side)
    for _ in range(12):
        data = _encoded(random.Random(f"{kind.name} {number}"), sources, side)
        if kind.min_bytes <= len(data) <= kind.max_bytes:
            break
        # Bytes grow with the area, so the side with the root of what is wanted.
        wanted = (kind.min_bytes + kind.max_bytes) / 2
        side = max(64, round(side * (wanted / len(data)) ** 0.5))
    partial_file = folder / f".{number}.partial"
    partial_file.write_bytes(data)
    partial_file.rename(folder / f"{number:05}.jpg")


def _encoded(chance: random.Random, sources: Sequence[Path], side: int) -> bytes:
    """One scene: a crop of a photo, often with a second photo in a part of it."""
    size = (side, round(side * chance.choice((0.75, 0.67, 1.0))))
    if chance.random() < 0.3:
        size = (size[1], size[0])
    scene = _crop(chance, sources, size)
    if chance.random() < 0.6:
        inset = (size[0] // chance.randint(2, 3), size[1] // chance.randint(2, 3))
        at = (chance.randint(0, size[0] - inset[0]), chance.randint(0, size[1] - inset[1]))
        scene.paste(_crop(chance, sources, inset), at)
    scene = ImageEnhance.Brightness(scene).enhance(chance.uniform(0.75, 1.25))
    noise = np.random.default_rng(chance.randrange(2**32))
    pixels = np.asarray(scene, np.float32)
    pixels = pixels + np.float32(NOISE_LEVELS) * noise.standard_normal(
        (*pixels.shape[:2], 1), np.float32
    )
    buffer = BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _crop(chance: random.Random, sources: Sequence[Path], size: tuple[int, int]) -> Image.Image:
    photo = _photo(chance.choice(sources))
    share = chance.uniform(0.45, 0.95)
    width, height = photo.width * share, photo.height * share
    left = chance.uniform(0, photo.width - width)
    top = chance.uniform(0, photo.height - height)
    box = (left, top, left + width, top + height)
    crop = photo.resize(size, Image.Resampling.BICUBIC, box=box)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if chance.random() < 0.5 else crop


@cache
def _photo(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return photo.convert("RGB")

"""Bring decoded pixels of any mode to upright 8-bit RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from skerry.errors import ImageUnreadable

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
BITS_PER_SAMPLE = 258  # TIFF tag
BAND_ROWS = 256

TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def averageable(image: Image.Image, *, factor: int = 1) -> Image.Image:
    """The image in L, RGB or RGBA, whose pixels can be averaged, and `factor` times smaller.

    Transparency survives, so that it is composited after the last resize, when it costs little.
    Raises ImageUnreadable for samples of 32 bits, whose white is unknown.
    """
    image.load()
    bits = _bits_per_sample(image)
    if factor == 1:
        return _converted(image, bits)
    # Band by band: the whole in another mode would double the memory a large image takes.
    rows = factor * max(1, BAND_ROWS // factor)
    bands = [
        _converted(image.crop((0, top, image.width, min(top + rows, image.height))), bits)
        .reduce(factor)
        for top in range(0, image.height, rows)
    ]  # fmt: skip
    return _stacked(bands)


def opaque(image: Image.Image) -> Image.Image:
    """The image in RGB, composited on white where it is transparent."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def upright(image: Image.Image, *, orientation: int) -> Image.Image:
    """The image turned as its EXIF `orientation` (1 to 8) asks."""
    method = TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def _converted(image: Image.Image, bits: int) -> Image.Image:
    if image.mode in SIXTEEN_BIT_MODES:
        return _high_byte(image, bits)
    if image.mode in ("I", "F"):
        raise ImageUnreadable(
            "The image has 32-bit samples, which have no agreed white.",
            remedy="Convert it to 8 or 16 bits per sample.",
        )
    mode = _averageable_mode(image)
    return image if image.mode == mode else image.convert(mode)  # convert() always copies


def _averageable_mode(image: Image.Image) -> str:
    if image.has_transparency_data:
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


def _high_byte(image: Image.Image, bits: int) -> Image.Image:
    # Pillow's own convert("L") clips at 255 and leaves a white picture; its 16-bit RGB reader
    # keeps the high byte, and so do we.
    samples = np.asarray(image).astype(np.uint16, copy=False)
    return Image.fromarray((samples >> (bits - 8)).astype(np.uint8))


def _bits_per_sample(image: Image.Image) -> int:
    tags: Any = getattr(image, "tag_v2", {})
    return int(tags.get(BITS_PER_SAMPLE, (16,))[0])


def _stacked(bands: list[Image.Image]) -> Image.Image:
    whole = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    top = 0
    for band in bands:
        whole.paste(band, (0, top))
        top += band.height
    return whole

"""Bring decoded pixels of any mode to upright 8-bit RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

from skerry.errors import ImageUnreadable

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
BITS_PER_SAMPLE = 258  # TIFF tag

TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def resizable(image: Image.Image) -> Image.Image:
    """The image in L, RGB or RGBA: modes whose pixels can be averaged.

    Transparency survives, so that it is composited after the resize, when it costs little.
    Raises ImageUnreadable for samples of 32 bits, whose white is unknown.
    """
    if image.mode in SIXTEEN_BIT_MODES:
        return _high_byte(image)
    if image.mode in ("I", "F"):
        raise ImageUnreadable(
            "The image has 32-bit samples, which have no agreed white.",
            remedy="Convert it to 8 or 16 bits per sample.",
        )
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in ("1", "L"):
        return image if image.mode == "L" else image.convert("L")
    return image if image.mode == "RGB" else image.convert("RGB")


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


def _high_byte(image: Image.Image) -> Image.Image:
    # Pillow's own convert("L") clips at 255 and leaves a white picture; its 16-bit RGB reader
    # keeps the high byte, and so do we.
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    samples = np.asarray(image).astype(np.uint16, copy=False)
    return Image.fromarray((samples >> (bits - 8)).astype(np.uint8))

"""Photos made on the spot: every call gives one that no node has seen before."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

_random = np.random.default_rng()


def photo(*, size: tuple[int, int] = (96, 64), seed: int | None = None) -> Image.Image:
    """Soft colours with shapes on them, RGB."""
    random = _random if seed is None else np.random.default_rng(seed)
    rough = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = random.integers(0, size[0]), random.integers(0, size[1])
        radius = int(random.integers(2, max(3, min(size) // 3)))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """The image's file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(*, size: tuple[int, int] = (96, 64), seed: int | None = None) -> bytes:
    """A new photo as JPEG."""
    return encoded(photo(size=size, seed=seed), "JPEG", quality=90)


def png(*, size: tuple[int, int] = (48, 32), seed: int | None = None) -> bytes:
    """A new photo as PNG."""
    return encoded(photo(size=size, seed=seed), "PNG")


def png_bomb(side: int = 30_000) -> bytes:
    """A valid PNG of side x side black grey-scale pixels in about a megabyte."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    # After a full flush the packer begins anew, so the packed block may be repeated.
    packer, block = zlib.compressobj(9, zlib.DEFLATED, -15), side + 1
    packed = packer.compress(bytes(block * 30)) + packer.flush(zlib.Z_FULL_FLUSH)
    adler_of_zeros = (block * side % 65_521) << 16 | 1
    pixels = b"\x78\xda" + packed * (side // 30) + b"\x03\x00" + struct.pack(">I", adler_of_zeros)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

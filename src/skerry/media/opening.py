"""Open hostile bytes as an image: only known formats, bounded pixels, only domain errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from skerry.errors import ImageUnreadable, PayloadTooLarge, SkerryError

# Every other decoder of Pillow stays out of reach of an upload.
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}
# A JPEG of several pictures (some phones write them) opens as its first one.
MEDIA_TYPE_OF_FORMAT = {**MEDIA_TYPES, "MPO": "image/jpeg"}

# Each scan of a progressive JPEG walks the whole picture again; encoders write about ten.
MAX_JPEG_SCANS = 100
START_OF_SCAN = (0xFF, 0xDA)

NOT_TURNED = 1
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations whose width and height are swapped."""


@contextmanager
def opened(data: bytes, *, max_pixels: int) -> Iterator[Image.Image]:
    """The image in `data`, its header read and its pixels not yet.

    Whatever Pillow raises inside the block leaves it as ImageUnreadable; more than `max_pixels`
    raises PayloadTooLarge before a pixel is decoded.
    """
    if not data:
        raise ImageUnreadable("The image is empty.")
    try:
        with Image.open(BytesIO(data), formats=tuple(MEDIA_TYPES)) as image:
            _check_cost(image, data, max_pixels=max_pixels)
            yield image
    except SkerryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PayloadTooLarge(f"The image has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageUnreadable("These bytes are not an image of a known format.") from error
    except Exception as error:  # Pillow's decoders raise nearly any type on damaged bytes
        raise ImageUnreadable(f"The image is damaged: {error}") from error


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, of an image whose pixels are not loaded yet."""
    if image.format == "TIFF":
        return NOT_TURNED  # Pillow turns TIFF itself and reports the turned size
    if image.format == "PNG" and "exif" not in image.info:
        return NOT_TURNED  # getexif() would decode all pixels to look for a misplaced chunk
    value = image.getexif().get(Base.Orientation, NOT_TURNED)
    return value if value in range(1, 9) else NOT_TURNED


def _check_cost(image: Image.Image, data: bytes, *, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise PayloadTooLarge(
            f"The image has {image.width} x {image.height} pixels; the limit is {max_pixels}.",
            remedy="Send a smaller image, or raise limits.max_pixels.",
        )
    if pixels == 0:
        raise ImageUnreadable("The image has no pixels.")
    if MEDIA_TYPE_OF_FORMAT[image.format or ""] == "image/jpeg":
        scans = _scans(data)
        if scans > MAX_JPEG_SCANS:
            raise ImageUnreadable(f"The JPEG has {scans} scans; the limit is {MAX_JPEG_SCANS}.")


def _scans(data: bytes) -> int:
    """How often a scan may start in a JPEG."""
    # bytes.count() takes three times as long, and holds the GIL meanwhile.
    codes = np.frombuffer(data, np.uint8)
    starts = codes[:-1] == START_OF_SCAN[0]
    starts &= codes[1:] == START_OF_SCAN[1]
    return int(np.count_nonzero(starts))

"""Images as bytes: what they are, the tensor a model reads, a thumbnail to show."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skerry.media.opening import MEDIA_TYPE_OF_FORMAT, SIDEWAYS, opened, orientation
from skerry.media.pixels import averageable, opaque, upright

if TYPE_CHECKING:  # a sibling layer: only its type is read here
    from skerry.models.manifest import Preprocess

MAX_PIXELS = 64_000_000
THUMBNAIL_QUALITY = 82
LARGE_PIXELS = 4_000_000
"""Above this an image is averaged down before it is resampled: time and memory matter then."""

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a header says: media type, and the size as shown (EXIF orientation applied)."""

    media_type: str
    width: int
    height: int


def probe(data: bytes, *, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Read the header of `data`; pixels are not decoded, so damage further on goes unseen.

    Raises ImageUnreadable, or PayloadTooLarge for more than `max_pixels`.
    """
    with opened(data, max_pixels=max_pixels) as image:
        width, height = image.size
        if orientation(image) in SIDEWAYS:
            width, height = height, width
        return ImageFacts(MEDIA_TYPE_OF_FORMAT[image.format or ""], width, height)


def decode(
    data: bytes, preprocess: Preprocess, *, max_pixels: int = MAX_PIXELS
) -> NDArray[np.float32]:
    """Decode, turn upright, crop, resize and normalise: float32 (3, size, size), contiguous.

    The first frame of an animation; transparency on white; embedded colour profiles are not
    applied. Raises ImageUnreadable, or PayloadTooLarge for more than `max_pixels`.
    """
    size = preprocess.size
    with opened(data, max_pixels=max_pixels) as image:
        turn = orientation(image)
        left, top, right, bottom = _box(image.size, preprocess)
        whole = _reduced(image, spare=min(right - left, bottom - top) / size / 2)
        small = whole.resize(
            (size, size), FILTERS[preprocess.resample], box=_box(whole.size, preprocess)
        )
        # Crops are centred and outputs square, so turning the small picture is the same.
        return _normalised(upright(opaque(small), orientation=turn), preprocess)


def thumbnail(data: bytes, *, size: int, max_pixels: int = MAX_PIXELS) -> bytes:
    """An upright JPEG that fits in `size` x `size` pixels, never larger than the original.

    Raises ImageUnreadable, or PayloadTooLarge for more than `max_pixels`.
    """
    with opened(data, max_pixels=max_pixels) as image:
        turn = orientation(image)
        scale = min(1.0, size / max(image.size))
        fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        whole = _reduced(image, spare=1 / scale / 2)
        small = whole.resize(fitted, Image.Resampling.LANCZOS)
        buffer = BytesIO()
        picture = upright(opaque(small), orientation=turn)
        picture.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
        return buffer.getvalue()


def _reduced(image: Image.Image, *, spare: float) -> Image.Image:
    """Decode the image, smaller by a whole factor up to `spare`: how often it is too large.

    A JPEG decodes at 1/2, 1/4 or 1/8 at less cost. Callers leave at least twice the pixels they
    need: below that the result differs from a full decode by visible grey levels.
    """
    factor = next((factor for factor in (8, 4, 2) if spare >= factor), 1)
    width = image.width
    # A no-op for the formats that cannot do it; the size keeps Pillow's factor to ours.
    image.draft(None, (image.width // factor, image.height // factor))
    rest = spare * image.width / width
    large = image.width * image.height > LARGE_PIXELS
    return averageable(image, factor=int(rest) if large and rest >= 2 else 1)


def _box(size: tuple[int, int], preprocess: Preprocess) -> Box:
    """The part of an image of `size` that the model sees, in fractional pixels."""
    width, height = size
    if preprocess.crop == "stretch":
        return (0.0, 0.0, float(width), float(height))
    side = min(width, height) * preprocess.crop_fraction
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def _normalised(image: Image.Image, preprocess: Preprocess) -> NDArray[np.float32]:
    channels_first = np.asarray(image).transpose(2, 0, 1)
    mean = np.array(preprocess.mean, dtype=np.float32).reshape(3, 1, 1)
    scale = np.float32(1) / np.array(preprocess.std, dtype=np.float32).reshape(3, 1, 1)
    tensor = np.empty(channels_first.shape, dtype=np.float32)
    np.subtract(channels_first, mean, out=tensor, dtype=np.float32, casting="unsafe")
    tensor *= scale
    return tensor

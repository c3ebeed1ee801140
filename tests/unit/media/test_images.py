"""Images: each form of good and bad input gives the right pixels or a domain error."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from skerry.errors import ImageUnreadable, PayloadTooLarge
from skerry.media import images
from skerry.media.images import decode, probe, thumbnail
from skerry.models.manifest import Preprocess

CENTER = Preprocess(
    size=32,
    crop="center",
    resample="bicubic",
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
    crop_fraction=32 / 36,
)
# Gives pixels as they are, so that colours can be read off.
PLAIN = Preprocess(
    size=16, crop="stretch", resample="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)
FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}


def picture(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth photo-like picture without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / max(1, width - 1)
    green = 255 * y / max(1, height - 1)
    blue = 127 + 120 * np.sin(7 * x / width + 9 * y / height)
    return Image.fromarray(np.stack([red, green, blue], axis=2).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def colour(tensor: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in tensor.reshape(3, -1).mean(axis=1).round())


def png(width: int, height: int, bit_depth: int, colour_type: int, *chunks: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    body = b"".join(chunk(part[:4], part[4:]) for part in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(("format", "media_type"), FORMATS.items())
def test_every_format_is_named_by_its_bytes_and_decoded(format: str, media_type: str) -> None:
    data = encoded(picture(), format)
    facts = probe(data)
    assert (facts.media_type, facts.width, facts.height) == (media_type, 60, 40)
    tensor = decode(data, CENTER)
    assert tensor.shape == (3, 32, 32)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    exact = decode(encoded(picture(), "PNG"), CENTER)
    assert np.abs(tensor - exact).mean() < 0.15


def test_centre_crop_resize_and_normalisation_follow_the_preprocess() -> None:
    side = 40 * 32 / 36
    box = ((60 - side) / 2, (40 - side) / 2, (60 + side) / 2, (40 + side) / 2)
    expected = picture().resize((32, 32), Image.Resampling.BICUBIC, box=box)
    tensor = decode(encoded(picture(), "PNG"), CENTER)
    np.testing.assert_allclose(
        tensor.transpose(1, 2, 0), (np.asarray(expected, np.float32) - 127) / 128, atol=1e-6
    )


def test_stretch_uses_the_whole_image_and_each_channel_its_own_mean_and_std() -> None:
    preprocess = Preprocess(
        size=16, crop="stretch", resample="lanczos", mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0)
    )
    expected = np.asarray(picture().resize((16, 16), Image.Resampling.LANCZOS), np.float32)
    expected = (expected - [10, 20, 30]) / [1, 2, 4]
    tensor = decode(encoded(picture(), "PNG"), preprocess)
    np.testing.assert_allclose(tensor.transpose(1, 2, 0), expected, atol=1e-4)


@pytest.mark.parametrize("width", [100, 400, 900, 2000])
def test_reduced_jpeg_decode_stays_close_to_the_full_one(width: int) -> None:
    data = encoded(picture(width, width * 3 // 4), "JPEG", quality=90)
    full = encoded(Image.open(BytesIO(data)), "PNG")
    difference = np.abs(decode(data, CENTER) - decode(full, CENTER)) * 128
    # Saturated blue is the worst case: its chroma was stored at half the size already.
    assert difference.max() <= 12
    assert difference.mean() < 2


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_eight_exif_orientations_come_out_upright(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "lossless": True} if format == "WEBP" else {}
    data = encoded(picture(), format, exif=exif, **options)
    shown = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    facts = probe(data)
    assert (facts.width, facts.height) == shown.size
    expected = decode(encoded(shown, "PNG", exif=Image.Exif()), CENTER)
    np.testing.assert_allclose(decode(data, CENTER), expected, atol=2 / 128)
    assert Image.open(BytesIO(thumbnail(data, size=30))).size in {(30, 20), (20, 30)}
    assert (Image.open(BytesIO(thumbnail(data, size=30))).width == 30) == (shown.width == 60)


def test_an_orientation_outside_one_to_eight_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert probe(encoded(picture(), "JPEG", exif=exif)).width == 60


def test_cmyk_jpeg_keeps_its_colours() -> None:
    cmyk = Image.new("RGB", (64, 64), (200, 30, 60)).convert("CMYK")
    seen = colour(decode(encoded(cmyk, "JPEG", quality=100), PLAIN))
    assert np.abs(np.subtract(seen, (200, 30, 60))).max() <= 4


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(format: str) -> None:
    grey = Image.fromarray(np.full((20, 20), 128 * 257, np.uint16))
    assert colour(decode(encoded(grey, format), PLAIN)) == (128, 128, 128)


def test_sixteen_bit_colour_is_scaled_and_not_clipped() -> None:
    row = b"\x00" + struct.pack(">HHH", 65535, 32896, 0) * 8
    data = png(8, 8, 16, 2, b"IDAT" + zlib.compress(row * 8))
    assert colour(decode(data, PLAIN)) == (255, 128, 0)


def test_twelve_bit_tiff_uses_its_whole_range() -> None:
    packed = bytes([0xFF, 0xFF, 0xFF]) * 32  # 64 samples of 4095
    tags = [
        (256, 4, 8), (257, 4, 8), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8),
        (277, 3, 1), (278, 4, 8), (279, 4, len(packed)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    data = b"II*\x00" + struct.pack("<I", 8 + len(packed)) + packed + directory
    assert colour(decode(data, PLAIN)) == (255, 255, 255)


@pytest.mark.parametrize("samples", [np.float32, np.int32])
def test_thirty_two_bit_samples_are_refused_and_not_guessed(samples: type) -> None:
    data = encoded(Image.fromarray(np.zeros((8, 8), samples)), "TIFF")
    with pytest.raises(ImageUnreadable, match="32-bit"):
        decode(data, PLAIN)


def test_palette_with_alpha_is_composited_on_white() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    data = encoded(image, "PNG", transparency=bytes([255, 0]))
    assert colour(decode(data, PLAIN)) == (255, 255, 255)
    half = encoded(image, "PNG", transparency=bytes([255, 128]))
    assert colour(decode(half, PLAIN)) == (255, 127, 127)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lend_no_colour_to_their_neighbours(mode: str) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))  # black, but invisible
    image.paste((255, 255, 255, 255), (0, 0, 32, 64))
    tensor = decode(encoded(image.convert(mode), "PNG"), PLAIN)
    assert tensor.min() >= 254


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (30, 30), c) for c in ("red", "lime", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert colour(decode(data, PLAIN)) == (255, 0, 0)


def test_bilevel_image_decodes() -> None:
    assert colour(decode(encoded(Image.new("1", (9, 9), 1), "PNG"), PLAIN)) == (255, 255, 255)


@pytest.mark.parametrize("format", FORMATS)
def test_one_pixel_fills_the_tensor(format: str) -> None:
    data = encoded(Image.new("RGB", (1, 1), (255, 255, 255)), format)
    assert colour(decode(data, PLAIN)) == (255, 255, 255)
    assert decode(data, CENTER).shape == (3, 32, 32)
    assert Image.open(BytesIO(thumbnail(data, size=256))).size == (1, 1)


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1)])
def test_a_line_of_pixels_decodes_and_has_a_thumbnail(size: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size, "white"), "PNG")
    assert decode(data, CENTER).shape == (3, 32, 32)
    assert max(Image.open(BytesIO(thumbnail(data, size=100))).size) == 100


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_file_is_unreadable(format: str) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    with pytest.raises(ImageUnreadable):
        decode(data[: len(data) // 2], CENTER)
    with pytest.raises(ImageUnreadable):
        decode(data[:20], CENTER)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x00" * 100, b"%PDF-1.7", b"<svg xmlns='http://x'/>", b"GIF89a"]
)
def test_bytes_that_are_no_image_are_unreadable(data: bytes) -> None:
    for read in (probe, lambda data: decode(data, CENTER), lambda data: thumbnail(data, size=64)):
        with pytest.raises(ImageUnreadable):
            read(data)


@pytest.mark.parametrize("format", ["PPM", "ICO", "PCX", "TGA", "SGI", "DDS"])
def test_other_formats_of_the_library_are_out_of_reach(format: str) -> None:
    with pytest.raises(ImageUnreadable):
        probe(encoded(Image.new("RGB", (16, 16)), format))


def test_a_bomb_is_refused_before_its_pixels_are_decoded() -> None:
    # 30000 x 30000, whose pixel data would not even inflate: only the header may be read.
    data = png(30_000, 30_000, 8, 2, b"IDAT" + b"not deflate")
    for read in (probe, lambda data: decode(data, CENTER), lambda data: thumbnail(data, size=64)):
        with pytest.raises(PayloadTooLarge):
            read(data)
    with pytest.raises(PayloadTooLarge):
        probe(data, max_pixels=2_000_000_000)


def test_the_pixel_bound_is_the_callers() -> None:
    data = encoded(picture(), "PNG")
    assert probe(data, max_pixels=2400).width == 60
    with pytest.raises(PayloadTooLarge, match="60 x 40"):
        probe(data, max_pixels=2399)
    with pytest.raises(PayloadTooLarge):
        decode(data, CENTER, max_pixels=2399)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded(picture(), "JPEG", progressive=True)
    with pytest.raises(ImageUnreadable, match="scans"):
        decode(data[:-2] + b"\xff\xda" * 200 + data[-2:], CENTER)


def test_a_thumbnail_is_a_jpeg_that_fits_and_is_never_enlarged() -> None:
    large = Image.open(BytesIO(thumbnail(encoded(picture(600, 400), "PNG"), size=256)))
    assert (large.format, large.size) == ("JPEG", (256, 171))
    small = Image.open(BytesIO(thumbnail(encoded(picture(), "PNG"), size=256)))
    assert small.size == (60, 40)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "CMYK", "I;16"])
def test_a_large_image_is_averaged_down_in_bands_to_the_same_picture(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode == "I;16":
        large = Image.fromarray(np.asarray(picture(900, 1300).convert("L")).astype(np.uint16) * 257)
    else:
        large = picture(900, 1300).convert(mode)
    if mode in ("RGBA", "LA"):
        large.putalpha(Image.linear_gradient("L").resize(large.size))
    data = encoded(large, "TIFF" if mode == "CMYK" else "PNG")
    whole, shown = decode(data, CENTER), thumbnail(data, size=100)
    monkeypatch.setattr(images, "LARGE_PIXELS", 1000)
    assert np.abs(decode(data, CENTER) - whole).max() * 128 < 8
    difference = np.asarray(Image.open(BytesIO(thumbnail(data, size=100))), np.float32)
    difference -= np.asarray(Image.open(BytesIO(shown)), np.float32)
    assert np.abs(difference).mean() < 2


def test_a_large_transparent_image_takes_four_bytes_a_pixel(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGBA", (4000, 4000), (9, 9, 9, 99)).save(path, compress_level=1)
    program = f"""
import resource
from pathlib import Path
from skerry.media import images
from skerry.media.images import decode, thumbnail
from skerry.models.manifest import Preprocess
preprocess = Preprocess(size=32, crop="center", resample="bicubic", mean=(0,)*3, std=(1,)*3)
data = Path({str(path)!r}).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(data, preprocess)
thumbnail(data, size=256)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 16e6)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert float(done.stdout) < 6, done.stderr


def test_decoding_in_threads_gives_the_same_tensors() -> None:
    data = [encoded(picture(80 + i, 60), "JPEG") for i in range(16)]
    alone = [decode(d, CENTER) for d in data]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda d: decode(d, CENTER), data * 4))
    for i, tensor in enumerate(together):
        np.testing.assert_array_equal(tensor, alone[i % 16])


SEEDS = [encoded(picture(), name) for name in FORMATS] + [
    encoded(picture(), "JPEG", progressive=True),
    encoded(picture().convert("CMYK"), "JPEG"),
    encoded(picture().convert("P"), "PNG", transparency=0),
    encoded(picture().convert("RGBA"), "PNG"),
    encoded(picture(), "TIFF", compression="tiff_lzw"),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real image with a few bytes overwritten, inserted, removed or cut off."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["set", "insert", "delete", "cut"]))
        if kind == "set":
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=16))
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 32))]
        else:
            del data[max(1, at) :]
        if not data:
            break
    return bytes(data)


@pytest.mark.filterwarnings("ignore")  # Pillow says what it found odd in a damaged file
@settings(max_examples=400, deadline=None)
@given(mutated())
def test_damaged_bytes_raise_nothing_but_domain_errors(data: bytes) -> None:
    for read in (
        lambda: probe(data, max_pixels=100_000),
        lambda: decode(data, CENTER, max_pixels=100_000),
        lambda: thumbnail(data, size=64, max_pixels=100_000),
    ):
        try:
            read()
        except (ImageUnreadable, PayloadTooLarge) as error:
            assert error.message

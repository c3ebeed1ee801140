"""Cut the probe photos shipped in `src/skerry/inference/data/probe` out of scikit-image's.

    pip download --no-deps --dest wheels scikit-image==0.26.0
    python scripts/probe_photos.py wheels/scikit_image-*.whl

The photos are CC0 or in the public domain; the folder's README.md names their makers.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from PIL import Image

TARGET = Path(__file__).parent.parent / "src/skerry/inference/data/probe"
SIDE = 288
QUALITY = 80
# photo -> squares (left, top, side) on which EfficientNet-Lite0, 1 and 2 were most sure, at most
# two of a photo, found among 24 random squares of each.
SQUARES = {
    "astronaut.png": [(153, 174, 313), (4, 6, 502)],
    "brick.png": [(99, 112, 379), (75, 8, 430)],
    "camera.png": [(25, 107, 380), (106, 53, 334)],
    "chelsea.png": [(180, 3, 259), (185, 17, 228)],
    "coffee.png": [(333, 58, 200), (339, 118, 219)],
    "retina.jpg": [(184, 12, 948), (251, 409, 871)],
    "rocket.jpg": [(4, 22, 330), (32, 159, 234)],
}


def main(wheel: Path) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with ZipFile(wheel) as archive:
        for name, squares in SQUARES.items():
            photo = Image.open(BytesIO(archive.read(f"skimage/data/{name}"))).convert("RGB")
            for i, (left, top, side) in enumerate(squares):
                box = (left, top, left + side, top + side)
                cut = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box)
                cut.save(TARGET / f"{Path(name).stem}-{i}.jpg", "JPEG", quality=QUALITY)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Take the activation ranges shipped in `src/skerry/inference/data/activation_ranges.json`.

    pip download --no-deps --dest wheels scikit-image==0.26.0
    python scripts/activation_ranges.py wheels/scikit_image-*.whl MODELS_FOLDER

The photos are CC0 or in the public domain, as scikit-image states of each. Few as they are, random
crops and flips of them span what the activations of a photo span: `--check FOLDER` says how near
INT8 with these ranges comes to fp32 on photos of your own.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import msgspec
import onnx
from PIL import Image

from skerry.inference.base import Float32
from skerry.inference.identity import stored_variant
from skerry.inference.int8_variant import int8_file, judge
from skerry.inference.quantize import weights_digest
from skerry.inference.ranges import Ranges, ShippedRanges, measured_ranges
from skerry.media.images import decode
from skerry.models.external import read_graph
from skerry.models.manifest import ImageModel, Preprocess
from skerry.models.store import ModelStore

TARGET = Path(__file__).parent.parent / "src/skerry/inference/data/activation_ranges.json"
MODELS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
PHOTOS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png",
    "coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "retina.jpg",
    "rocket.jpg",
)  # fmt: skip
CROPS = 4
SEED = 20


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("wheel", type=Path)
    arguments.add_argument("models", type=Path)
    arguments.add_argument("--check", type=Path, help="folder of photos")
    options = arguments.parse_args()
    store = ModelStore(options.models)
    photos = [encoded(cut) for cut in cuts(options.wheel)]
    shipped = []
    for name in MODELS:
        model = store.pull(name)
        graph = read_graph(model.path(stored_variant(model, "fp32")))
        ranges = rounded(
            measured_ranges(graph, tensors(photos, model), input_name=model.manifest.input)
        )
        shipped.append(ShippedRanges(name, weights_digest(graph), ranges))
        if options.check:
            check(model, graph, ranges, options.check)
    TARGET.write_bytes(msgspec.json.encode(shipped).replace(b'{"model"', b'\n{"model"') + b"\n")


def cuts(wheel: Path) -> Iterator[Image.Image]:
    """The photos whole, and random crops of them, every other one mirrored."""
    chance = random.Random(SEED)
    with ZipFile(wheel) as archive:
        for name in PHOTOS:
            photo = Image.open(BytesIO(archive.read(f"skimage/data/{name}"))).convert("RGB")
            yield photo
            for i in range(CROPS):
                side = chance.uniform(0.3, 0.95) * min(photo.size)
                left = chance.uniform(0, photo.width - side)
                top = chance.uniform(0, photo.height - side)
                cut = photo.crop((int(left), int(top), int(left + side), int(top + side)))
                yield cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if i % 2 else cut


def encoded(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def tensors(photos: list[bytes], model: ImageModel) -> Iterator[Float32]:
    preprocess: Preprocess = model.manifest.preprocess
    return (decode(photo, preprocess) for photo in photos)


def rounded(ranges: Ranges) -> Ranges:
    return {name: (round(low, 4), round(high, 4)) for name, (low, high) in ranges.items()}


def check(model: ImageModel, graph: onnx.ModelProto, ranges: Ranges, folder: Path) -> None:
    photos = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    with int8_file(graph, ranges) as path:
        print(model.manifest.name, judge(model, path, tensors(photos, model), engine="openvino"))


if __name__ == "__main__":
    main()

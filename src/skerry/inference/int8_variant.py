"""Turn a model's fp32 graph into its INT8 variant: rewrite, judge beside fp32, store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import onnx

from skerry.backends import backend_class
from skerry.errors import BadRequest
from skerry.inference.base import Engine, Float32
from skerry.inference.comparison import Nearness, compare
from skerry.inference.int8_graph import int8_graph
from skerry.inference.ranges import Ranges
from skerry.inference.trial import latencies_ms, outputs_side_by_side
from skerry.models.manifest import ImageModel, Variant
from skerry.models.store import ModelStore


@dataclass(frozen=True, slots=True)
class Judgement:
    """INT8 beside fp32 on the same images."""

    nearness: Nearness
    fp32_latency_ms: float
    int8_latency_ms: float


@contextmanager
def int8_file(graph: onnx.ModelProto, ranges: Ranges) -> Iterator[Path]:
    """A temporary ONNX file of `graph` in INT8; `graph` is changed."""
    converted = int8_graph(graph, ranges)
    with TemporaryDirectory(prefix="skerry-") as folder:
        path = Path(folder) / "int8.onnx"
        onnx.save(converted, path)
        yield path


def judge(model: ImageModel, int8: Path, images: Iterable[Float32], *, engine: str) -> Judgement:
    """Run fp32 and `int8` on `images`, float32 (3, size, size) each.

    Raises BadRequest when there is none.
    """
    images = iter(images)
    first = next(images, None)
    if first is None:
        raise BadRequest("There is no image to judge INT8 by.")
    variant = Variant(precision="int8", file=int8.name, sha256="", bytes=int8.stat().st_size)
    manifest = msgspec.structs.replace(model.manifest, variants=(variant,))
    make = backend_class("inference", engine)
    both: list[Engine] = [
        make(model, precision="fp32"),
        make(ImageModel(manifest, int8.parent), precision="int8"),
    ]
    try:
        reference, outputs = outputs_side_by_side(both, chain([first], images))
        return Judgement(compare(outputs, reference), *latencies_ms(both, first))
    finally:
        for each in both:
            each.close()


def store_int8(
    store: ModelStore, name: str, int8: Path, judgement: Judgement, *, passed: bool
) -> Variant:
    """Keep `int8` as the model's variant, with what was found of it; returns it as stored."""
    installed = store.add_variant(
        name,
        precision="int8",
        graph=int8,
        agreement=round(judgement.nearness.agreement, 4),
        cosine=round(judgement.nearness.mean_cosine, 5),
        passed=passed,
    )
    return next(v for v in installed.manifest.variants if v.precision == "int8")

"""Quantize a model to INT8: with a user's images, or with the ranges shipped for its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process

from skerry.errors import BadRequest, ImageUnreadable, ModelInvalid, PayloadTooLarge
from skerry.inference.base import Float32
from skerry.inference.comparison import MIN_AGREEMENT, MIN_COSINE
from skerry.inference.cpu import this_cpu
from skerry.inference.identity import stored_variant
from skerry.inference.int8_variant import Judgement, int8_file, judge, store_int8
from skerry.inference.probe_photos import probe_tensors
from skerry.inference.ranges import measured_ranges, shipped_ranges
from skerry.media.images import decode
from skerry.models.external import WEIGHTS_DIGEST, read_graph
from skerry.models.manifest import ImageModel, Preprocess, Variant
from skerry.models.store import ModelStore

log = logging.getLogger(__name__)

MIN_IMAGES = 20
MAX_CALIBRATION_IMAGES = 100
"""More change nothing: twenty photos gave the accuracy of a hundred."""
MAX_CHECK_IMAGES = 400

Progress = Callable[[str, int, int], None]
"""Called with a step (`calibrate` or `check`), images done and images in all."""


def say_nothing(step: str, done: int, total: int) -> None:
    """Progress for callers who do not show it."""


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """INT8 beside fp32: bytes, milliseconds an image, and nearness on images kept out."""

    model: str
    engine: str
    calibration_images: int
    check_images: int
    unreadable: tuple[str, ...]
    """Files that could not be decoded, each with its reason."""
    fp32_bytes: int
    int8_bytes: int
    fp32_latency_ms: float
    int8_latency_ms: float
    agreement: float
    mean_cosine: float
    min_cosine: float
    asked_agreement: float
    asked_cosine: float
    passed: bool
    """False: kept, but in a space of its own and never a default."""


def quantize(
    store: ModelStore,
    name: str,
    images: Sequence[Path],
    *,
    min_agreement: float = MIN_AGREEMENT,
    min_cosine: float = MIN_COSINE,
    engine: str = "",
    progress: Progress = say_nothing,
) -> QuantizationReport:
    """Calibrate on every other one of `images`, judge on the rest, store the INT8 variant.

    At most 100 images calibrate and 400 judge. Blocks for a minute or more; `progress` may raise
    to stop it, and nothing is stored then. Raises BadRequest for fewer than 20 readable images or
    a threshold outside 0 to 1, ModelNotFound, ModelInvalid for a graph without convolutions.
    `engine` judges; empty: the one this CPU prefers.
    """
    engine = engine or this_cpu().engine
    _check_thresholds(min_agreement, min_cosine)
    model = store.get_image(name)
    calibration = _Photos(images[0::2][:MAX_CALIBRATION_IMAGES], model, "calibrate", progress)
    check = _Photos(images[1::2][:MAX_CHECK_IMAGES], model, "check", progress)
    graph = _folded(_fp32_graph(model))
    _check_count(len(images))
    ranges = measured_ranges(graph, calibration, input_name=model.manifest.input)
    _check_count(2 * calibration.read)
    with int8_file(graph, ranges) as path:
        judgement = judge(model, path, check, engine=engine)
        _check_count(2 * check.read)
        nearness = judgement.nearness
        passed = nearness.agreement >= min_agreement and nearness.mean_cosine >= min_cosine
        variant = store_int8(store, name, path, judgement, passed=passed)
    return _report(
        model, variant, judgement, calibration, check, (min_agreement, min_cosine), engine
    )


def apply_ranges(store: ModelStore, name: str) -> ImageModel | None:
    """Give a model its INT8 variant from the ranges shipped for its weights, without any image.

    It is judged on the probe photos; None when no ranges are shipped for these weights.
    """
    model = store.get_image(name)
    graph = _fp32_graph(model)
    ranges = shipped_ranges(weights_digest(graph))
    if ranges is None:
        return None
    with int8_file(graph, ranges) as path:
        judgement = judge(
            model, path, probe_tensors(model.manifest.preprocess), engine=this_cpu().engine
        )
        nearness = judgement.nearness
        passed = nearness.sure_agreement >= MIN_AGREEMENT and nearness.mean_cosine >= MIN_COSINE
        store_int8(store, name, path, judgement, passed=passed)
    if not passed:
        log.warning("the shipped INT8 ranges of '%s' failed their check here", name)
    return store.get_image(name)


def weights_digest(graph: onnx.ModelProto) -> str:
    """The digest of the weights that stands in a stored graph's metadata; empty when absent."""
    properties: dict[str, str] = {entry.key: entry.value for entry in graph.metadata_props}
    return properties.get(WEIGHTS_DIGEST, "")


@dataclass(slots=True)
class _Photos:
    """Decodes files one by one, as often as it is walked; what cannot be read is noted."""

    paths: Sequence[Path]
    model: ImageModel
    step: str
    progress: Progress
    read: int = 0
    unreadable: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Float32]:
        preprocess = self.model.manifest.preprocess
        for i, path in enumerate(self.paths):
            self.progress(self.step, i, len(self.paths))
            tensor = self._decode(path, preprocess)
            if tensor is not None:
                self.read += 1
                yield tensor
        self.progress(self.step, len(self.paths), len(self.paths))

    def _decode(self, path: Path, preprocess: Preprocess) -> Float32 | None:
        try:
            return decode(path.read_bytes(), preprocess)
        except (ImageUnreadable, PayloadTooLarge) as error:
            reason = error.message
        except OSError as error:
            reason = error.strerror or str(error)
        log.warning("%s is left out: %s", path, reason)
        self.unreadable.append(f"{path}: {reason}")
        return None


def _fp32_graph(model: ImageModel) -> onnx.ModelProto:
    return read_graph(model.path(stored_variant(model, "fp32")))


def _folded(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with constants computed and batch normalisation folded into convolutions."""
    with TemporaryDirectory(prefix="skerry-") as folder:
        path = Path(folder) / "folded.onnx"
        try:
            # Symbolic shapes would need sympy and are of no use to convolutions.
            quant_pre_process(graph, path, skip_symbolic_shape=True)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise ModelInvalid(f"The graph cannot be prepared for INT8: {error}") from error
        return onnx.load(path)


def _check_thresholds(*values: float) -> None:
    for value in values:
        if not 0 <= value <= 1:
            raise BadRequest(f"A threshold is between 0 and 1, not {value}.")


def _check_count(images: int) -> None:
    if images < MIN_IMAGES:
        raise BadRequest(
            f"Quantizing needs at least {MIN_IMAGES} readable images; there are {images}.",
            remedy="Name a folder with photos like those the model will see.",
        )


def _report(
    model: ImageModel,
    variant: Variant,
    judgement: Judgement,
    calibration: _Photos,
    check: _Photos,
    asked: tuple[float, float],
    engine: str,
) -> QuantizationReport:
    return QuantizationReport(
        model=model.manifest.name,
        engine=engine,
        calibration_images=calibration.read,
        check_images=check.read,
        unreadable=(*calibration.unreadable, *check.unreadable),
        fp32_bytes=stored_variant(model, "fp32").bytes,
        int8_bytes=variant.bytes,
        fp32_latency_ms=round(judgement.fp32_latency_ms, 3),
        int8_latency_ms=round(judgement.int8_latency_ms, 3),
        agreement=judgement.nearness.agreement,
        mean_cosine=judgement.nearness.mean_cosine,
        min_cosine=judgement.nearness.min_cosine,
        asked_agreement=asked[0],
        asked_cosine=asked[1],
        passed=variant.passed,
    )

"""Choose the precision that ran best on this very CPU among those that stayed true to fp32."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from skerry.backends import backend_class
from skerry.errors import SkerryError
from skerry.inference.base import Engine, Float32
from skerry.inference.comparison import MIN_AGREEMENT, MIN_COSINE, Outputs, compare
from skerry.inference.cpu import this_cpu
from skerry.inference.identity import EngineModel
from skerry.inference.probe_photos import probe_tensors
from skerry.inference.trial import latencies_ms, outputs_side_by_side
from skerry.models.manifest import ImageModel

log = logging.getLogger(__name__)

E = TypeVar("E")


class PrecisionResult(msgspec.Struct, frozen=True):
    """How one precision did on this CPU: median time of one image, and nearness to fp32."""

    precision: str
    latency_ms: float
    agreement: float
    cosine: float
    passed: bool


class Measurement(msgspec.Struct, frozen=True):
    """What was measured for one model and engine on one CPU."""

    model: str
    engine: str
    cpu: str
    variants: dict[str, str]
    """sha256 of each variant measured; another variant makes the measurement stale."""
    results: tuple[PrecisionResult, ...]

    @property
    def best(self) -> PrecisionResult:
        """The fastest precision that passed; fp32 always does."""
        return min((r for r in self.results if r.passed), key=lambda result: result.latency_ms)


def best_precision(model: ImageModel, *, engine: str, threads: int) -> Measurement:
    """The stored measurement of this CPU, or a new one when there is none that still holds."""
    return kept_or_measured(
        model,
        engine=engine,
        measure=lambda: measure_precisions(model, engine=engine, threads=threads),
    )


def kept_or_measured(
    model: EngineModel, *, engine: str, measure: Callable[[], Measurement]
) -> Measurement:
    """What lies beside the model for this CPU and these variants, or what `measure` gives."""
    stored = _read(_path(model, engine))
    if stored is not None and stored.variants == _digests(model):
        return stored
    log.info("measuring precisions of '%s' on this CPU, once", model.manifest.name)
    return measure()


def keep(model: EngineModel, engine: str, results: Sequence[PrecisionResult]) -> Measurement:
    """Store what was measured beside the model; a folder that cannot be written is said aloud."""
    measurement = Measurement(
        model.manifest.name, engine, this_cpu().name, _digests(model), tuple(results)
    )
    _write(_path(model, engine), measurement)
    return measurement


def candidates(model: ImageModel, *, engine: str) -> list[str]:
    """Precisions `auto` may choose from: fp32 first, as the others are compared with it."""
    precisions = ["fp32"]
    if engine == "openvino" and this_cpu().has_bf16:
        precisions.append("bf16")
    int8 = model.manifest.variant("int8")
    if int8 is not None and int8.passed:
        precisions.append("int8")
    return precisions


def measure_precisions(
    model: ImageModel,
    *,
    engine: str = "openvino",
    threads: int = 0,
    images: Float32 | None = None,
) -> Measurement:
    """Run each precision that `auto` may choose on `images` (the probe photos), store the result.

    Takes a few seconds. Raises what loading fp32 raises; another precision that does not run here
    is left out and logged.
    """
    tensors = probe_tensors(model.manifest.preprocess) if images is None else images
    backend = backend_class("inference", engine)

    def make(precision: str) -> Engine:
        made: Engine = backend(model, precision=precision, device="cpu", threads=threads)
        return made

    engines = loaded(make, candidates(model, engine=engine))
    try:
        outputs = outputs_side_by_side(list(engines.values()), tensors)
        times = latencies_ms(list(engines.values()), tensors[0])
    finally:
        for each in engines.values():
            each.close()
    results = [
        _judged(precision, time_ms, output, reference=outputs[0])
        for precision, time_ms, output in zip(engines, times, outputs, strict=True)
    ]
    return keep(model, engine, results)


def loaded(make: Callable[[str], E], precisions: Sequence[str]) -> dict[str, E]:
    """Each precision that runs here; one that does not is logged, fp32's error is raised."""
    made: dict[str, E] = {}
    for precision in precisions:
        try:
            made[precision] = make(precision)
        except SkerryError as error:
            if precision == "fp32":
                raise
            log.warning("%s does not run here: %s", precision, error.message)
    return made


def _judged(
    precision: str, time_ms: float, outputs: Outputs, *, reference: Outputs
) -> PrecisionResult:
    nearness = compare(outputs, reference)
    near = nearness.sure_agreement >= MIN_AGREEMENT and nearness.mean_cosine >= MIN_COSINE
    return PrecisionResult(
        precision,
        round(time_ms, 3),
        round(nearness.sure_agreement, 4),
        round(nearness.mean_cosine, 5),
        passed=near or precision == "fp32",
    )


def _digests(model: EngineModel) -> dict[str, str]:
    return {variant.precision: variant.sha256 for variant in model.manifest.variants}


def _path(model: EngineModel, engine: str) -> Path:
    return model.folder / f"measured-{engine}-{this_cpu().signature}.json"


def _read(path: Path) -> Measurement | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Measurement)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s cannot be read (%s): measuring again", path.name, error)
        return None


def _write(path: Path, measurement: Measurement) -> None:
    try:
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(measurement)))
        partial.replace(path)
    except OSError as error:
        log.warning("%s cannot be kept (%s): the next start measures again", path.name, error)

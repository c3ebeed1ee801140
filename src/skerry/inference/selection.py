"""Choose the precision that ran best on this very CPU among those that stayed true to fp32."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from skerry.backends import backend_class
from skerry.errors import SkerryError
from skerry.inference.base import Engine, Float32
from skerry.inference.comparison import MIN_AGREEMENT, MIN_COSINE, Outputs, compare
from skerry.inference.cpu import Cpu, this_cpu
from skerry.inference.probe_photos import probe_tensors
from skerry.inference.trial import latencies_ms, outputs_side_by_side
from skerry.models.manifest import ImageModel

log = logging.getLogger(__name__)


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
    cpu = this_cpu()
    stored = _read(_path(model, engine, cpu))
    if stored is not None and stored.variants == _digests(model):
        return stored
    log.info("measuring precisions of '%s' on this CPU, once", model.manifest.name)
    return measure_precisions(model, engine=engine, threads=threads)


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
    cpu = this_cpu()
    tensors = probe_tensors(model.manifest.preprocess) if images is None else images
    engines = _loaded(model, engine, threads)
    try:
        outputs = outputs_side_by_side(list(engines.values()), tensors)
        times = latencies_ms(list(engines.values()), tensors[0])
    finally:
        for loaded in engines.values():
            loaded.close()
    results = [
        _judged(precision, time_ms, output, reference=outputs[0])
        for precision, time_ms, output in zip(engines, times, outputs, strict=True)
    ]
    measurement = Measurement(
        model.manifest.name, engine, cpu.name, _digests(model), tuple(results)
    )
    _write(_path(model, engine, cpu), measurement)
    return measurement


def _loaded(model: ImageModel, engine: str, threads: int) -> dict[str, Engine]:
    make = backend_class("inference", engine)
    engines: dict[str, Engine] = {}
    for precision in candidates(model, engine=engine):
        try:
            engines[precision] = make(model, precision=precision, device="cpu", threads=threads)
        except SkerryError as error:
            if precision == "fp32":
                raise
            log.warning("%s does not run here: %s", precision, error.message)
    return engines


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


def _digests(model: ImageModel) -> dict[str, str]:
    return {variant.precision: variant.sha256 for variant in model.manifest.variants}


def _path(model: ImageModel, engine: str, cpu: Cpu) -> Path:
    return model.folder / f"measured-{engine}-{cpu.signature}.json"


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

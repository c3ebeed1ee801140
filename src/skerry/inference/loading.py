"""Load a model on the engine, device and precision that settings name, or that suit this CPU."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from skerry.backends import backend_class
from skerry.config import ModelSettings
from skerry.errors import ConfigError, ModelUnavailable
from skerry.inference.base import Engine
from skerry.inference.cpu import this_cpu
from skerry.inference.selection import best_precision, candidates
from skerry.metrics import Metrics
from skerry.models.manifest import ImageModel

log = logging.getLogger(__name__)

ENGINES_OF_DEVICE = {
    "cpu": ("openvino", "onnx"),
    "gpu": ("openvino",),
    "npu": ("openvino",),
    "cuda": ("onnx",),
    "coreml": ("onnx",),
}
PRECISIONS = ("fp32", "bf16", "int8")
COMPILED_FOLDER = "compiled"


@dataclass(frozen=True, slots=True)
class Choice:
    """Engine, device and precision, and why."""

    engine: str
    device: str
    precision: str
    reason: str


def load_engine(
    model: ImageModel, *, settings: ModelSettings, metrics: Metrics | None = None
) -> Engine:
    """Load `model` as `settings` ask; `auto` is resolved and said in the log.

    Raises ConfigError for what this machine lacks, ModelUnavailable for files that are missing
    or cannot be read. Blocks for a fraction of a second, or a few when precisions are measured.
    """
    choice = choose(model, settings=settings)
    started = time.perf_counter()
    engine: Engine = backend_class("inference", choice.engine)(
        model,
        precision=choice.precision,
        device=choice.device,
        threads=settings.threads,
        cache_folder=_cache_folder(model),
    )
    elapsed_s = time.perf_counter() - started
    log.info(
        "loaded '%s' on %s %s in %s: %s", engine.info.model, choice.engine, choice.device,
        choice.precision, choice.reason,
        extra={"fields": {"seconds": round(elapsed_s, 2), "streams": engine.streams}},
    )  # fmt: skip
    if metrics is not None:
        metrics.model_load.labels(engine.info.model, choice.precision).set(elapsed_s)
    return engine


def choose(model: ImageModel, *, settings: ModelSettings) -> Choice:
    """Resolve `auto` in `settings` for `model` on this CPU; may measure, once per CPU."""
    device = "cpu" if settings.device == "auto" else settings.device
    if device not in ENGINES_OF_DEVICE:
        raise _unknown("device", device, tuple(ENGINES_OF_DEVICE))
    engine = _engine(settings.engine, device)
    if settings.precision != "auto":
        if settings.precision not in PRECISIONS:
            raise _unknown("precision", settings.precision, PRECISIONS)
        return Choice(engine, device, settings.precision, "as configured")
    if device != "cpu":
        return Choice(engine, device, "fp32", "precisions are measured on CPUs only")
    if candidates(model, engine=engine) == ["fp32"]:
        return Choice(engine, device, "fp32", "there is no other variant to choose")
    best = best_precision(model, engine=engine, threads=settings.threads).best
    reason = f"fastest here of those near fp32, {best.latency_ms:.1f} ms an image"
    return Choice(engine, device, best.precision, reason)


def _engine(name: str, device: str) -> str:
    possible = ENGINES_OF_DEVICE[device]
    if name == "auto":
        return this_cpu().engine if device == "cpu" else possible[0]
    if name not in ("openvino", "onnx"):
        raise _unknown("engine", name, ("openvino", "onnx"))
    if name not in possible:
        raise ConfigError(
            f"The engine '{name}' does not run on the device '{device}'.",
            remedy=f'Set models.engine to "{possible[0]}", or another models.device.',
        )
    return name


def _unknown(setting: str, value: str, known: tuple[str, ...]) -> ConfigError:
    return ConfigError(
        f'models.{setting} = "{value}" is not known.', remedy=f"Known: auto, {', '.join(known)}."
    )


def _cache_folder(model: ImageModel) -> Path | None:
    """Where compiled models are kept; none, said aloud, when the folder cannot be written."""
    folder = model.folder / COMPILED_FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise ModelUnavailable(f"The folder of '{model.manifest.name}' is gone.") from error
    except OSError as error:
        log.warning("no compiled model is kept, each start compiles: %s", error)
        return None
    return folder

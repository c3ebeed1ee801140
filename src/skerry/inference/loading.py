"""Load a model on the engine, device and precision that settings name, or that suit this CPU."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.backends import backend_class
from skerry.config import ModelSettings
from skerry.errors import ConfigError, ModelUnavailable
from skerry.inference.base import Engine
from skerry.inference.cpu import this_cpu
from skerry.inference.selection import best_precision, candidates
from skerry.metrics import Metrics
from skerry.models.manifest import ImageModel, InstalledModel, Manifest

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
AUTO = "auto"


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
    engine: Engine = load_chosen(
        "inference", choose(model, settings=settings), model, settings=settings, metrics=metrics
    )
    return engine


def load_chosen(
    seam: str,
    choice: Choice,
    model: InstalledModel[Manifest],
    *,
    settings: ModelSettings,
    metrics: Metrics | None,
) -> Any:
    """What the seam's backend makes of `model` as chosen; how long it took is said and counted."""
    started = time.perf_counter()
    engine = backend_class(seam, choice.engine)(
        model,
        precision=choice.precision,
        device=choice.device,
        threads=settings.threads,
        cache_folder=compiled_folder(model),
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
    asked = configured(settings)
    if asked.precision != AUTO:
        return asked
    engine, device = asked.engine, asked.device
    if candidates(model, engine=engine) == ["fp32"]:
        return Choice(engine, device, "fp32", "there is no other variant to choose")
    best = best_precision(model, engine=engine, threads=settings.threads).best
    reason = f"fastest here of those near fp32, {best.latency_ms:.1f} ms an image"
    return Choice(engine, device, best.precision, reason)


def configured(settings: ModelSettings) -> Choice:
    """Engine and device that `settings` mean; the precision stays `auto` where it is measured."""
    device = "cpu" if settings.device == AUTO else settings.device
    if device not in ENGINES_OF_DEVICE:
        raise unknown_setting("device", device, tuple(ENGINES_OF_DEVICE))
    engine = engine_for(settings.engine, device)
    if settings.precision not in (AUTO, *PRECISIONS):
        raise unknown_setting("precision", settings.precision, PRECISIONS)
    if settings.precision == AUTO and device != "cpu":
        return Choice(engine, device, "fp32", "precisions are measured on CPUs only")
    return Choice(engine, device, settings.precision, "as configured")


def engine_for(name: str, device: str) -> str:
    """The engine that `name` (or `auto`) means on `device`; ConfigError when it cannot run it."""
    possible = ENGINES_OF_DEVICE[device]
    if name == AUTO:
        return this_cpu().engine if device == "cpu" else possible[0]
    if name not in ("openvino", "onnx"):
        raise unknown_setting("engine", name, ("openvino", "onnx"))
    if name not in possible:
        raise ConfigError(
            f"The engine '{name}' does not run on the device '{device}'.",
            remedy=f'Set models.engine to "{possible[0]}", or another models.device.',
        )
    return name


def unknown_setting(setting: str, value: str, known: tuple[str, ...]) -> ConfigError:
    """A setting with a value that nothing here knows."""
    return ConfigError(
        f'models.{setting} = "{value}" is not known.', remedy=f"Known: auto, {', '.join(known)}."
    )


def compiled_folder(model: InstalledModel[Manifest]) -> Path | None:
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

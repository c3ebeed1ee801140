"""Open the language model's runtime: as set, or by the file's architecture and the processor."""

from __future__ import annotations

import logging
import platform

from skerry.backends import backend_class
from skerry.config import GenerationSettings
from skerry.errors import ConfigError, ModelInvalid, ModelUnavailable
from skerry.generation.base import Generator
from skerry.metrics import Metrics
from skerry.models.manifest import ChatModel

log = logging.getLogger(__name__)

# What OpenVINO GenAI 2026.4 builds graphs for, by `general.architecture` of the GGUF file.
OPENVINO_READS = frozenset({"llama", "qwen2", "qwen3"})
# Its kernels are made for these; on others llama.cpp has the better ones.
OPENVINO_MACHINES = frozenset({"x86_64", "AMD64"})


async def open_generator(
    model: ChatModel | None, *, settings: GenerationSettings, metrics: Metrics
) -> Generator:
    """A generator that is open; `info.engine` says which.

    `auto` tries a second runtime when the first cannot load the file, and says so in the log.
    Raises ConfigError, ModelInvalid, ModelUnavailable.
    """
    if settings.type == "remote":
        remote: Generator = backend_class("generation", "remote")(settings=settings)
        return await _opened(remote)
    if model is None:
        raise ConfigError(f"generation.type is '{settings.type}', which needs a model of its own.")
    if settings.type != "auto":
        return await _open(settings.type, model, settings=settings, metrics=metrics)
    first, second = candidates(model.manifest.architecture, machine=platform.machine())
    try:
        return await _open(first, model, settings=settings, metrics=metrics)
    except (ConfigError, ModelInvalid, ModelUnavailable) as error:
        log.warning(
            "'%s' cannot be run by %s: %s Trying %s.",
            *(model.manifest.name, first, error.message, second),
        )
    return await _open(second, model, settings=settings, metrics=metrics)


def candidates(architecture: str, *, machine: str) -> tuple[str, str]:
    """Names of the local backends, the likelier one first."""
    if architecture in OPENVINO_READS and machine in OPENVINO_MACHINES:
        return "openvino", "llamacpp"
    return "llamacpp", "openvino"


async def _open(
    name: str, model: ChatModel, *, settings: GenerationSettings, metrics: Metrics
) -> Generator:
    backend = backend_class("generation", name)
    generator: Generator = backend(model, settings=settings, metrics=metrics)
    manifest = model.manifest
    log.info("Loading '%s' (%s) by %s.", manifest.name, manifest.architecture, name)
    return await _opened(generator)


async def _opened(generator: Generator) -> Generator:
    try:
        await generator.open()
    except BaseException:
        await generator.close()
        raise
    return generator

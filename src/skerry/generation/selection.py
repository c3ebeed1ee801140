"""Open the language model's runtime: as set, or by the file's architecture and the processor."""

from __future__ import annotations

import asyncio
import logging
import platform

from skerry.backends import backend_class
from skerry.config import GenerationSettings
from skerry.errors import ConfigError, ModelInvalid, ModelUnavailable
from skerry.generation.base import Generator
from skerry.generation.llamacpp import footprint_bytes as llamacpp_bytes
from skerry.generation.openvino import footprint_bytes as openvino_bytes
from skerry.generation.openvino import unreadable
from skerry.metrics import Metrics
from skerry.models.gguf import GgufHeader, read_gguf
from skerry.models.manifest import ChatModel

log = logging.getLogger(__name__)

# OpenVINO's kernels are made for these; on others llama.cpp has the better ones.
OPENVINO_MACHINES = frozenset({"x86_64", "AMD64"})


async def open_generator(
    model: ChatModel | None, *, settings: GenerationSettings, metrics: Metrics
) -> Generator:
    """A generator that is open; `info.engine` says which.

    `auto` takes OpenVINO where it can, and llama.cpp where it cannot; the log says why.
    Raises ConfigError, ModelInvalid, ModelUnavailable.
    """
    if settings.type == "remote":
        remote: Generator = backend_class("generation", "remote")(settings=settings)
        return await _opened(remote)
    if model is None:
        raise ConfigError(f"generation.type is '{settings.type}', which needs a model of its own.")
    if settings.type != "auto":
        return await _open(settings.type, model, settings=settings, metrics=metrics)
    header = await asyncio.to_thread(read_gguf, model.path(model.manifest.file))
    why_not = against_openvino(header, machine=platform.machine())
    if why_not:
        log.info("'%s' runs by llama.cpp, not by OpenVINO: %s.", model.manifest.name, why_not)
        return await _open("llamacpp", model, settings=settings, metrics=metrics)
    try:
        return await _open("openvino", model, settings=settings, metrics=metrics)
    except (ConfigError, ModelInvalid, ModelUnavailable) as error:
        log.warning(
            "'%s' cannot be run by OpenVINO: %s llama.cpp is tried.",
            *(model.manifest.name, error.message),
        )
    return await _open("llamacpp", model, settings=settings, metrics=metrics)


def footprint_bytes(model: ChatModel, *, settings: GenerationSettings) -> int:
    """Memory of the runtime that is taken for this file, estimated; reads the file's header."""
    name = settings.type
    if name == "auto":
        header = read_gguf(model.path(model.manifest.file))
        name = "llamacpp" if against_openvino(header, machine=platform.machine()) else "openvino"
    estimate = llamacpp_bytes if name == "llamacpp" else openvino_bytes
    return estimate(model, settings)


def against_openvino(header: GgufHeader, *, machine: str) -> str:
    """Why OpenVINO is not the runtime to take for this file here; empty: it is."""
    if machine not in OPENVINO_MACHINES:
        return f"on {machine} llama.cpp is the faster"
    return unreadable(header)


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

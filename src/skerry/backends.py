"""Open a backend of a seam by its name; the backend owns and checks its options."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import msgspec

from skerry.config import check_keys, unknown_key
from skerry.errors import ConfigError

# seam -> name -> (class, what to install when its package is absent)
BACKENDS: dict[str, dict[str, tuple[str, str]]] = {
    "vectors": {
        "edge": ("skerry.vectors.edge:EdgeVectors", "skerry"),
        "exact": ("skerry.vectors.exact:ExactVectors", "skerry"),
        "qdrant": ("skerry.vectors.qdrant:QdrantVectors", "skerry[qdrant]"),
    },
    "kv": {
        "memory": ("skerry.kv.memory:MemoryStore", "skerry"),
        "sqlite": ("skerry.kv.sqlite:SqliteStore", "skerry"),
        "redis": ("skerry.kv.redis:RedisStore", "skerry[redis]"),
    },
    "inference": {
        "openvino": ("skerry.inference.openvino:OpenVinoEngine", "skerry"),
        "onnx": ("skerry.inference.onnx:OnnxEngine", "skerry"),
    },
    "encoders": {
        "openvino": ("skerry.inference.encoders.openvino:OpenVinoEncoder", "skerry"),
        "onnx": ("skerry.inference.encoders.onnx:OnnxEncoder", "skerry"),
    },
    "generation": {
        "openvino": ("skerry.generation.openvino:OpenVinoGenerator", "skerry"),
        "llamacpp": ("skerry.generation.llamacpp:LlamaCppGenerator", "skerry"),
        "remote": ("skerry.generation.remote:RemoteGenerator", "skerry"),
    },
}


def backend_class(seam: str, name: str) -> type[Any]:
    """The class behind `name`; ConfigError when unknown or its package is not installed."""
    known = BACKENDS[seam]
    if name not in known:
        raise unknown_key(f"{seam}.type = {name}", name, list(known))
    target, requirement = known[name]
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The {seam} backend '{name}' needs the package '{error.name}'.",
            remedy=f"Install it with: pip install '{requirement}'",
        ) from error


def open_backend(seam: str, settings: Mapping[str, Any], **context: Any) -> Any:
    """Make the backend that `settings["type"]` names from the other settings and `context`.

    A backend's class carries `Options`, a msgspec Struct of the keys it reads.
    """
    options = dict(settings)
    backend = backend_class(seam, options.pop("type"))
    check_keys(options, backend.Options, where=f"{seam}.")
    try:
        parsed = msgspec.convert(options, backend.Options, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"The [{seam}] table has a wrong value: {error}") from error
    return backend(parsed, **context)

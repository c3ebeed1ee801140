"""The context and the threads a runtime gets, from the settings and the model."""

from __future__ import annotations

import os

from skerry.config import GenerationSettings
from skerry.errors import ConfigError
from skerry.models.manifest import ChatManifest

LONGEST_BY_DEFAULT = 8192


def context_of(manifest: ChatManifest, *, settings: GenerationSettings) -> int:
    """Tokens of prompt and answer together; ConfigError for more than the model was made for."""
    if settings.context > manifest.context:
        raise ConfigError(
            f"generation.context is {settings.context}, but '{manifest.name}' was trained "
            f"for {manifest.context}."
        )
    return settings.context or min(manifest.context, LONGEST_BY_DEFAULT)


def threads_of(settings: GenerationSettings) -> int:
    """Threads of the runtime."""
    return settings.threads or len(os.sched_getaffinity(0))

"""The memory that all loaded models together may take: asked for before one is loaded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from skerry.errors import MemoryLimitReached
from skerry.models.manifest import Manifest

SHARE_OF_MACHINE = 0.8
# Mapped weights, and the copy that the engine packs for this CPU.
COPIES = 2
MIB = 1 << 20
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

Unload = Callable[[], Awaitable[bool]]
"""Frees the model that was idle longest; False when none is idle."""


class MemoryBudget:
    """Counts what models were estimated to take; makes room by unloading idle ones."""

    def __init__(self, limit_bytes: int = 0) -> None:
        self.limit_bytes = limit_bytes or int(SHARE_OF_MACHINE * machine_bytes())
        self._taken: dict[str, int] = {}
        self._unload: Unload | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def taken_bytes(self) -> int:
        """What is counted now."""
        return sum(self._taken.values())

    def make_room_by(self, unload: Unload) -> None:
        """Who is asked to unload when a model does not fit."""
        self._unload = unload

    async def take(self, name: str, wanted_bytes: int) -> None:
        """Count a model; MemoryLimitReached when it cannot fit beside those in use."""
        async with self._one_at_a_time:
            while self.taken_bytes + wanted_bytes > self.limit_bytes:
                if self._unload is None or not await self._unload():
                    raise MemoryLimitReached(
                        f"The model '{name}' needs about {wanted_bytes // MIB} MiB; "
                        f"{self.taken_bytes // MIB} of {self.limit_bytes // MIB} MiB are in use.",
                        retry_after_s=5.0,
                    )
            self._taken[name] = wanted_bytes

    def give_back(self, name: str) -> None:
        """The model is no longer loaded."""
        self._taken.pop(name, None)


def weights_bytes(manifest: Manifest) -> int:
    """What the largest variant of a model takes in an engine."""
    return COPIES * max(variant.bytes for variant in manifest.variants)


def machine_bytes() -> int:
    """Memory of this machine, or what a control group leaves this process of it."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        bound = CGROUP_LIMIT.read_text("ascii").strip()
    except OSError:
        return physical
    return min(physical, int(bound)) if bound.isdigit() else physical

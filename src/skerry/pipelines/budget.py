"""The memory that all loaded models share: asked for before one is loaded, kept from idle ones."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from skerry.errors import MemoryLimitReached
from skerry.metrics import Metrics
from skerry.models.manifest import Manifest

log = logging.getLogger(__name__)

SHARE_OF_MACHINE = 0.8
# Mapped weights, and the copy that the engine packs for this CPU.
COPIES = 2
MIB = 1 << 20
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
PATIENCE_S = 1.0
"""Most uses of a model take less: one that does not fit waits so long for another to be idle."""
LOOK_AGAIN_S = 0.02
MIN_CHECK_S, MAX_CHECK_S = 0.05, 30.0

Reason = Literal["unused", "memory"]


@dataclass(frozen=True, slots=True)
class Idle:
    """A loaded model that nobody uses now; `last_used` by `time.monotonic()`.

    A spared one stays however long it is unused, and makes room only after all others.
    """

    name: str
    last_used: float
    spared: bool
    unload: Callable[[], Awaitable[None]]
    """Does nothing when it came into use meanwhile."""


class Pool(Protocol):
    """Holds loaded models."""

    def idle(self) -> Iterable[Idle]:
        """Those that may be unloaded."""


class MemoryBudget:
    """Counts what models were estimated to take, and unloads those that nobody uses.

    Pools must be watched for that. Nothing is loaded while another is unloaded for it.
    """

    def __init__(
        self, limit_bytes: int = 0, *, metrics: Metrics, patience_s: float = PATIENCE_S
    ) -> None:
        self.limit_bytes = limit_bytes or int(SHARE_OF_MACHINE * machine_bytes())
        self._taken: dict[str, int] = {}
        self._pools: list[Pool] = []
        self._patience_s = patience_s
        self._one_at_a_time = asyncio.Lock()
        self._memory = metrics.model_memory
        self._unloads = metrics.model_unloads

    @property
    def taken_bytes(self) -> int:
        """What is counted now."""
        return sum(self._taken.values())

    def watch(self, pool: Pool) -> None:
        """Unload the idle models of this pool too."""
        self._pools.append(pool)

    async def take(self, name: str, wanted_bytes: int) -> None:
        """Count a model; MemoryLimitReached when it cannot fit beside those in use."""
        async with self._one_at_a_time:
            await self._make_room(name, wanted_bytes)
            self._taken[name] = wanted_bytes
        self._memory.labels(name).set(wanted_bytes)

    def give_back(self, name: str) -> None:
        """The model is no longer loaded."""
        self._taken.pop(name, None)
        self._memory.labels(name).set(0)

    async def unload_unused(self, *, keep_alive_s: float) -> None:
        """Unload what nobody used for `keep_alive_s` and is not spared; runs until cancelled."""
        while True:
            await asyncio.sleep(min(MAX_CHECK_S, max(MIN_CHECK_S, keep_alive_s / 4)))
            async with self._one_at_a_time:
                before = time.monotonic() - keep_alive_s
                for model in self._idle():
                    if model.last_used < before and not model.spared:
                        await self._unload(model, "unused", f"unused for {keep_alive_s:g} s")

    async def _make_room(self, name: str, wanted_bytes: int) -> None:
        give_up_at = time.monotonic() + self._patience_s
        while self.taken_bytes + wanted_bytes > self.limit_bytes:
            if wanted_bytes > self.limit_bytes:
                raise self._refusal(name, wanted_bytes)
            if idle := self._idle():
                longest = min(idle, key=lambda model: (model.spared, model.last_used))
                await self._unload(longest, "memory", f"to make room for '{name}'")
            elif time.monotonic() >= give_up_at:
                raise self._refusal(name, wanted_bytes)
            else:
                await asyncio.sleep(LOOK_AGAIN_S)

    def _idle(self) -> list[Idle]:
        return [model for pool in self._pools for model in pool.idle()]

    async def _unload(self, model: Idle, reason: Reason, said: str) -> None:
        log.info("unloading '%s': %s", model.name, said)
        try:
            await model.unload()
        except Exception:  # its memory is given back all the same, and others wait for it
            log.exception("'%s' did not end as it should", model.name)
        self._unloads.labels(model.name, reason).inc()

    def _refusal(self, name: str, wanted_bytes: int) -> MemoryLimitReached:
        return MemoryLimitReached(
            f"The model '{name}' needs about {wanted_bytes // MIB} MiB; "
            f"{self.taken_bytes // MIB} of {self.limit_bytes // MIB} MiB are in use.",
            retry_after_s=5.0,
        )


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

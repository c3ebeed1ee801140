"""Which index is searched: the change to another model's space happens at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from skerry.errors import IndexUnavailable, SpaceMismatch
from skerry.index.base import IndexState
from skerry.index.view import Index
from skerry.vectors.base import Filter, Float32, Match

NOT_OPEN = IndexState(
    space="", state="catching_up", points=0, indexed=0, lag=0, progress=0.0, message="not open yet"
)


class IndexSwitch:
    """An ActiveIndex that stands for one index, and later for its successor.

    Before the first one is in use, searches raise IndexUnavailable.
    """

    def __init__(self) -> None:
        self._active: Index | None = None
        self._filling: Index | None = None
        self._searching: Counter[Index] = Counter()
        self._idle = asyncio.Condition()

    @property
    def active(self) -> Index:
        """The index that is searched."""
        if self._active is None:
            raise IndexUnavailable("The index is not open yet.", retry_after_s=1.0)
        return self._active

    @property
    def space(self) -> str:
        """The space of the index that is searched."""
        return self.active.space

    async def search(
        self,
        vector: Float32,
        *,
        limit: int,
        deadline: float,
        filter: Filter | None = None,
        space: str | None = None,
    ) -> list[Match]:
        """As Index.search; SpaceMismatch when `space` is given and is not the active one."""
        index = self.active
        if space is not None and space != index.space:
            raise SpaceMismatch(f"The index holds vectors of '{index.space}', not of '{space}'.")
        self._searching[index] += 1
        try:
            return await index.search(vector, limit=limit, deadline=deadline, filter=filter)
        finally:
            self._searching[index] -= 1
            if index is not self._active:
                async with self._idle:
                    self._idle.notify_all()

    def notify(self) -> None:
        """Something was committed."""
        for index in (self._active, self._filling):
            if index is not None:
                index.notify()

    async def ready_for_writes(self, *, deadline: float) -> None:
        """Wait while the active index is too far behind; Overloaded at `deadline`."""
        if self._active is not None:
            await self._active.ready_for_writes(deadline=deadline)

    async def caught_up(self, seq: int) -> None:
        """Wait until the active index has applied the change `seq`."""
        await self.active.caught_up(seq)

    def state(self) -> IndexState:
        """The active index as it stands now."""
        return self._active.state() if self._active is not None else NOT_OPEN

    def filling(self) -> IndexState | None:
        """The successor in the making."""
        return None if self._filling is None else self._filling.state()

    async def fill(self, successor: Index, *, head: int) -> None:
        """Open `successor` and let it catch up with the log to `head`, while the other serves.

        When cancelled or failed, the successor is destroyed.
        """
        self._filling = successor
        try:
            await successor.open()
            await successor.caught_up(head)
        except BaseException:
            await self.abandon(successor)
            raise

    async def abandon(self, successor: Index) -> None:
        """Delete an index that will not be used after all."""
        self._filling = None
        await asyncio.shield(successor.destroy())

    def use(self, successor: Index) -> Index | None:
        """Search `successor` from now on; gives back the index before it, to be retired."""
        old, self._active, self._filling = self._active, successor, None
        return old

    async def retire(self, old: Index) -> None:
        """Delete an index that was replaced, once the searches that run on it have ended."""
        async with self._idle:
            await self._idle.wait_for(lambda: not self._searching[old])
        await old.destroy()

    async def close(self) -> None:
        """Close the active index."""
        if self._active is not None:
            await self._active.close()

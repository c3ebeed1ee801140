"""What an index needs of the node, and what the node's flows need of an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from skerry.vectors.base import Filter, Float32, Match, VectorIndex

State = Literal["ready", "catching_up", "rebuilding", "failed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """The latest state of one changed item: `put` with its payload, or `del`.

    `vector` is float32 (size,) in the feed's space; an item that lacks one there is left out.
    """

    id: int
    op: Literal["put", "del"]
    vector: Float32 | None = None
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """What changed up to and including `seq`, each item once."""

    seq: int
    entries: Sequence[Entry]


class Feed(Protocol):
    """The log as one space's index sees it."""

    @property
    def epoch(self) -> str:
        """Identity of the database: a seq means nothing in another one."""

    def head(self) -> int:
        """Seq of the latest committed change; cheap, called on the event loop."""

    async def after(self, seq: int, *, limit: int) -> Page:
        """The next changes after `seq`, about `limit` log entries of them.

        From 0 on it gives every living item, even where old entries have been trimmed. At the
        head the page is empty and its seq is `seq`.
        """


BackendFactory = Callable[[Path], VectorIndex]
"""Makes a backend over a folder that belongs to it alone and may not exist yet."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as `/readyz` and the status page show it.

    `lag` counts log entries not yet applied; `indexed` are the points in the graph, the others
    are scanned; `progress` runs from 0 to 1 while catching up or rebuilding; `skipped` are the
    items left out because they have no usable vector.
    """

    space: str
    state: State
    points: int
    indexed: int
    lag: int
    progress: float
    skipped: int = 0
    message: str = ""


class ActiveIndex(Protocol):
    """The index that searches go to."""

    @property
    def space(self) -> str:
        """The space of its vectors."""

    async def search(
        self, vector: Float32, *, limit: int, deadline: float, filter: Filter | None = None
    ) -> list[Match]:
        """The nearest points, with every change that was committed before the call.

        `deadline` is in `loop.time()` seconds. Raises IndexUnavailable when the index cannot
        answer by then, BadRequest and Unprocessable as the backend does.
        """

    def notify(self) -> None:
        """Something was committed."""

    async def ready_for_writes(self, *, deadline: float) -> None:
        """Wait while the index is too far behind; Overloaded at `deadline`."""

    async def caught_up(self, seq: int) -> None:
        """Wait until the change `seq` is applied."""

    def state(self) -> IndexState:
        """The index as it stands now."""

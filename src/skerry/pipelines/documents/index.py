"""The vector index of documents' chunks: opened at the start, made with the first document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from skerry.errors import SpaceMismatch
from skerry.index.switch import IndexSwitch
from skerry.index.view import Index
from skerry.pipelines.texts.embed import Embedder
from skerry.sql.spaces import Space, SpaceTable


class DocumentIndex:
    """The active space of chunks, and the index that searches it."""

    def __init__(
        self, spaces: SpaceTable, *, make_index: Callable[[Space], Index], default_model: str
    ) -> None:
        self.switch = IndexSwitch()
        self._spaces = spaces
        self._make_index = make_index
        self._default_model = default_model
        self._making = asyncio.Lock()
        # Known before its index is open: what is stored is "not to be had yet", never "nothing",
        # and what is added meanwhile goes to the same space.
        self._stored = spaces.active()
        self._active = self._stored

    @property
    def space(self) -> Space | None:
        """The space that is searched; None before the first document."""
        return self._active

    @property
    def model(self) -> str:
        """The embedding model of chunks and queries."""
        return self._active.model if self._active is not None else self._default_model

    async def start(self) -> None:
        """Open the index of the documents that are stored."""
        if self._stored is not None:
            await self._serve(self._stored)

    async def close(self) -> None:
        """Close the index."""
        await self.switch.close()

    async def ready_for(self, embedder: Embedder) -> Space:
        """The space that `embedder` writes to, made when there is none yet.

        Raises SpaceMismatch when the stored chunks were embedded by other weights.
        """
        async with self._making:
            if self._active is None:
                info = embedder.info
                size = embedder.manifest.embedding_size
                await self._serve(await self._spaces.add(info.space, model=info.model, size=size))
        self.check(embedder)
        assert self._active is not None
        return self._active

    def check(self, embedder: Embedder) -> None:
        """SpaceMismatch when the vectors of `embedder` cannot be compared with those stored."""
        if self._active is not None and embedder.info.space != self._active.name:
            raise SpaceMismatch(
                f"The documents were embedded by other weights of '{self._active.model}'.",
                remedy=f"Run 'skerry index rebuild --model {embedder.info.model}'.",
            )

    async def fill(self, space: Space, *, head: int) -> Index:
        """Another space's index, filled up to `head` while the present one is searched."""
        successor = self._make_index(space)
        await self.switch.fill(successor, head=head)
        return successor

    def change_to(self, space: Space, successor: Index) -> Index | None:
        """Search `space` from now on; gives back the index before it, to be retired."""
        # No await between these two: space and index change in one step for every request.
        old, self._active = self.switch.use(successor), space
        return old

    async def _serve(self, space: Space) -> None:
        index = self._make_index(space)
        await index.open()
        self.switch.use(index)
        self._active = space

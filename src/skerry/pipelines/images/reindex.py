"""Bring up the index at the start, rebuild it, and move every image to another model's space."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from skerry.errors import Conflict, SkerryError
from skerry.index.switch import IndexSwitch
from skerry.index.view import Index
from skerry.inference.base import Float32
from skerry.jobs.board import Job, JobBoard, JobHandle
from skerry.pipelines.giving_way import when_there_is_room
from skerry.pipelines.images.features import FeatureExtractor
from skerry.pipelines.images.library import ImageLibrary
from skerry.pipelines.images.served import ServedModels
from skerry.pipelines.stages import Stages
from skerry.sql.base import Database
from skerry.sql.image_changes import ImageFeed
from skerry.sql.images import ImageRow
from skerry.sql.spaces import Space, SpaceTable

log = logging.getLogger(__name__)

MakeIndex = Callable[[Space], Index]
FIRST_RETRY_S = 5.0
LAST_RETRY_S = 300.0
EMBED_S = 60.0
AT_ONCE = 4


class Reindexer:
    """Keeps the default model and the active index in one space, and changes both together."""

    def __init__(
        self,
        db: Database,
        spaces: SpaceTable,
        library: ImageLibrary,
        models: ServedModels,
        switch: IndexSwitch,
        jobs: JobBoard,
        *,
        make_index: MakeIndex,
        wanted: str,
    ) -> None:
        self._db = db
        self._spaces = spaces
        self._library = library
        self._models = models
        self._switch = switch
        self._jobs = jobs
        self._make_index = make_index
        self._wanted = wanted
        self._tasks: set[asyncio.Task[None]] = set()
        self._moving = False

    async def start(self) -> None:
        """Open the index and load the default model, side by side.

        A model that cannot be loaded is tried again in the background: it may be pulled, or the
        network come back, while the node runs.
        """
        active = self._spaces.active()
        opening = [self._serve(active)] if active is not None else []
        await asyncio.gather(self._bring_up_or_retry(active), *opening)

    async def close(self) -> None:
        """Stop what runs in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def use(self, name: str) -> Job:
        """Fill the model's space in the background, then switch model and index at once.

        Raises ModelNotFound or ModelUnavailable at once, Conflict when it is the default already
        or another switch runs.
        """
        async with self._models.using(name) as extractor:
            active = self._spaces.active()
            if active is not None and active.name == extractor.info.space:
                raise Conflict(f"'{name}' is the default model already.")
            return await self._start_move(extractor)

    async def rebuild(self) -> Job:
        """Build the active index anew from the stored vectors."""
        return await self._jobs.start("rebuild", lambda _: self._switch.active.rebuild())

    async def optimize(self) -> Job:
        """Put into the search graph what is not in it yet."""
        return await self._jobs.start("optimize", lambda _: self._switch.active.optimise())

    async def _bring_up_or_retry(self, active: Space | None) -> None:
        try:
            await self._bring_up(active)
        except SkerryError as error:
            log.error("The default model is not ready: %s %s", error.message, error.remedy)
            self._spawn(self._try_again(active))

    async def _bring_up(self, active: Space | None) -> None:
        await self._models.install()
        async with self._models.using(self._models.default) as extractor:
            await self._agree(active, extractor)
        if self._wanted and self._wanted != extractor.info.model:
            log.info("Moving from model '%s' to '%s'", extractor.info.model, self._wanted)
            await self.use(self._wanted)

    async def _agree(self, active: Space | None, extractor: FeatureExtractor) -> None:
        """Serve an index in the space of the default model, or begin to fill one."""
        space = extractor.info.space
        if active is None:
            added = await self._spaces.add(
                space, model=extractor.info.model, size=extractor.manifest.embedding_size
            )
            await self._serve(added)
        elif active.name != space:
            # The weights under this name are others now: the old space has nobody to ask it.
            log.warning("Model '%s' has changed: all images are embedded anew", active.model)
            await self._start_move(extractor)

    async def _try_again(self, active: Space | None) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LAST_RETRY_S)
            try:
                await self._bring_up(active)
            except SkerryError as error:
                log.warning("The default model is still not ready: %s", error.message)
            else:
                return

    async def _start_move(self, extractor: FeatureExtractor) -> Job:
        if self._moving:
            raise Conflict("Another change of model runs.", remedy="See: skerry jobs list")
        self._moving = True
        info, size = extractor.info, extractor.manifest.embedding_size

        async def work(job: JobHandle) -> None:
            try:
                space = await self._spaces.add(info.space, model=info.model, size=size)
                await self._move(job, space)
            finally:
                self._moving = False

        return await self._jobs.start("reindex", work, arguments={"model": info.model})

    async def _serve(self, space: Space) -> None:
        index = self._make_index(space)
        await index.open()
        self._switch.use(index)

    async def _move(self, job: JobHandle, space: Space) -> None:
        feed = ImageFeed(self._db, space=space.name)
        await self._fill(job, feed, space)
        index = self._make_index(space)
        await self._switch.fill(index, head=feed.head())
        async with self._library.gate.closed():
            try:
                # What was stored with the old model meanwhile; from here on nothing is.
                await self._fill(job, feed, space)
                await index.caught_up(feed.head())
                await self._spaces.activate(space.name)
            except BaseException:
                await self._switch.abandon(index)
                raise
            # No await between these two: model and index change in one step for every request.
            old = self._switch.use(index)
            self._models.default = space.model
        if old is not None:
            await self._switch.retire(old)
        log.info("Now using model '%s'", space.model)

    async def _fill(self, job: JobHandle, feed: ImageFeed, space: Space) -> None:
        done, last_id = await feed.count(), 0
        total = await self._library.table.count()
        while rows := await feed.missing(after_id=last_id, limit=AT_ONCE * 4):
            await asyncio.gather(*(self._embed(row, space) for row in rows))
            last_id = rows[-1].id
            done += len(rows)
            await job.progress(done, total=max(total, done))

    async def _embed(self, row: ImageRow, space: Space) -> None:
        try:
            image = await self._library.read(str(row.id))
            embedding = await when_there_is_room(lambda: self._vector(image, model=space.model))
        except SkerryError as error:
            log.error("Image %d is left out of the new index: %s", row.id, error.message)
            return
        table = self._library.table
        await self._db.write(
            lambda tx: table.put_embedding(tx, row.id, embedding=embedding, space=space.name)
        )
        self._switch.notify()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _vector(self, image: bytes, *, model: str) -> Float32:
        # In use for one image at a time: where memory is short, people's requests come between.
        async with self._models.using(model) as extractor:
            deadline = asyncio.get_running_loop().time() + EMBED_S
            found = await extractor.extract(image, deadline=deadline, stages=Stages())
        return found.features.embedding

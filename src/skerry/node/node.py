"""One node: opens its parts, starts and supervises them, closes them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from skerry.auth.hosts import host_rules, is_loopback
from skerry.auth.keys import KeyRing
from skerry.config import Settings
from skerry.errors import ConfigError, SkerryError
from skerry.jobs.board import Job, JobBoard
from skerry.kv.base import KeyValueStore
from skerry.metrics import Metrics, Traffic
from skerry.models.folder import ModelFolder
from skerry.models.manifest import AnyModel
from skerry.node.documents import Documents, wire_documents
from skerry.node.ground import lay_ground
from skerry.node.images import Images, wire_images
from skerry.node.stores import Stores, open_stores
from skerry.node.texts import wire_texts
from skerry.pipelines.answers.answer import Answerer
from skerry.pipelines.documents.library import DocumentLibrary
from skerry.pipelines.documents.search import DocumentSearch
from skerry.pipelines.housekeeping import Housekeeping
from skerry.pipelines.images.library import ImageLibrary
from skerry.pipelines.images.recognize import Recognizer
from skerry.pipelines.images.search import ImageSearch
from skerry.pipelines.images.served import ServedModels
from skerry.pipelines.stages import ORDER
from skerry.pipelines.status import StatusBoard
from skerry.pipelines.texts.models import TextModels
from skerry.sql.changes import ChangeLog

log = logging.getLogger(__name__)


class Node:
    """One node over one data folder. `open` makes it answer; models and index follow by themselves.

    What the API uses stands in public attributes, all of them set by `open`.
    """

    models: ServedModels
    texts: TextModels
    library: ImageLibrary
    recognizer: Recognizer
    image_search: ImageSearch
    documents: DocumentLibrary
    document_search: DocumentSearch
    answerer: Answerer
    keys: KeyRing
    jobs: JobBoard
    kv: KeyValueStore
    board: StatusBoard

    def __init__(self, settings: Settings, *, host: str, port: int) -> None:
        self.settings = settings
        self.host = host
        self.port = port
        self.metrics = Metrics()
        self.traffic = Traffic()
        self._model_folder = ModelFolder(settings.models_folder)
        self.stage_timers = {name: self.metrics.stage_duration.labels(name) for name in ORDER}
        self.host_rules = host_rules(host, settings.node.allowed_hosts)
        self._on_loopback = is_loopback(host)
        self._stack = AsyncExitStack()
        self._starting: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where this machine reaches the node."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def is_open(self) -> bool:
        """No key is in use, and only this machine can call: nobody is asked for one."""
        return self._on_loopback and self.keys.is_open

    async def open(self) -> None:
        """Open the stores and begin to load; on return the node answers, if not with models yet.

        Raises ConfigError beyond loopback without a key, StoreUnavailable, StorageFull.
        """
        try:
            stores = await open_stores(self.settings, self._stack)
            self.keys, self.jobs, self.kv = stores.keys, stores.jobs, stores.kv
            self._require_key()
            self._wire(stores)
        except BaseException:
            await self._stack.aclose()
            raise
        self._starting = asyncio.create_task(self._start(stores))
        self._starting.add_done_callback(_log_failure)
        keeping = Housekeeping(self.keys, ChangeLog(stores.db), metrics=self.metrics)
        self._stack.callback(asyncio.create_task(keeping.run()).cancel)

    async def close(self) -> None:
        """Finish what was admitted, then close every part in reverse order of opening."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self._stack.aclose()

    async def settled(self) -> None:
        """Wait until models and index are ready, or have failed."""
        if self._starting is not None:
            await asyncio.wait([self._starting])

    async def installed_models(self) -> list[AnyModel]:
        """What the models folder holds."""
        return await asyncio.to_thread(self._model_folder.list)

    async def use_model(self, name: str) -> Job:
        """Start the switch to another default model."""
        return await self._images.reindexer.use(name)

    async def rebuild_index(self) -> Job:
        """Start a rebuild of the active index."""
        return await self._images.reindexer.rebuild()

    async def use_embedding(self, name: str) -> Job:
        """Start to move the documents to another embedding model."""
        return await self._documents.reindexer.use(name)

    async def optimize_index(self) -> Job:
        """Start an optimisation of the active index."""
        return await self._images.reindexer.optimize()

    def _wire(self, stores: Stores) -> None:
        ground = lay_ground(
            self.settings, stores, self.metrics, models=self._model_folder, stack=self._stack
        )
        self.texts = wire_texts(ground)
        self._show_images(wire_images(ground))
        self._show_documents(wire_documents(ground, self.texts))
        self.board = StatusBoard(
            db=stores.db, library=self.library, models=self.models, texts=self.texts,
            documents=self.documents, index=self._images.index,
            metrics=self.metrics, data=self.settings.data_folder,
            queue_limit=self.settings.limits.queue,
        )  # fmt: skip

    def _show_images(self, images: Images) -> None:
        self._images = images
        self.models, self.library = images.models, images.library
        self.recognizer, self.image_search = images.recognizer, images.search

    def _show_documents(self, documents: Documents) -> None:
        self._documents = documents
        self.documents, self.document_search = documents.library, documents.search
        self.answerer = documents.answerer

    async def _start(self, stores: Stores) -> None:
        """Bring up the default model and the index; each failure is kept in its part's state."""
        try:
            await asyncio.to_thread(self._sweep, stores)
        except SkerryError as error:
            log.warning("What a crash may have left is not swept: %s", error.message)
        await asyncio.gather(self._images.reindexer.start(), self._documents.index.start())
        # Images are served by now: text models may take the line and the disk.
        self.texts.start()

    def _sweep(self, stores: Stores) -> None:
        """Remove what a crash left: files without a row, half-written ones."""
        stores.blobs.sweep(lambda digest: self.library.table.get(digest) is not None)

    def _require_key(self) -> None:
        if not self._on_loopback and self.keys.is_open:
            raise ConfigError(
                f"Listening on {self.host} without a key would let anybody in.",
                remedy="First: skerry keys create --name me --scope admin",
            )


def _log_failure(start: asyncio.Task[None]) -> None:
    if not start.cancelled() and start.exception() is not None:
        log.error("The start of the node failed", exc_info=start.exception())

"""The composition root: opens every part, wires the flows, supervises, closes."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

from skerry.auth.hosts import host_rules, is_loopback
from skerry.auth.keys import KeyRing
from skerry.auth.local import remove_local_key, write_local_key
from skerry.backends import open_backend
from skerry.blobs.files import FileBlobs
from skerry.config import Settings
from skerry.errors import ConfigError, SkerryError, StoreUnavailable
from skerry.index.base import Feed
from skerry.index.chunks import CHUNK_FIELDS
from skerry.index.images import IMAGE_FIELDS
from skerry.index.switch import IndexSwitch
from skerry.index.view import Index
from skerry.inference.cpu import usable_cores
from skerry.jobs.board import Job, JobBoard
from skerry.kv.base import KeyValueStore
from skerry.metrics import Metrics, Traffic
from skerry.models.catalogue import DEFAULT_IMAGE_MODEL
from skerry.models.folder import ModelFolder
from skerry.models.manifest import AnyModel
from skerry.pipelines.answer import Answerer
from skerry.pipelines.budget import MemoryBudget
from skerry.pipelines.chunk_feed import ChunkIndexFeed
from skerry.pipelines.cited import CitedWriter, can_phrase
from skerry.pipelines.document_index import DocumentIndex
from skerry.pipelines.document_reindex import DocumentReindexer
from skerry.pipelines.document_search import DocumentSearch
from skerry.pipelines.documents import DocumentLibrary
from skerry.pipelines.fetching import Fetcher
from skerry.pipelines.findings import Finder
from skerry.pipelines.housekeeping import Housekeeping
from skerry.pipelines.image_feed import ImageIndexFeed
from skerry.pipelines.images import ImageLibrary
from skerry.pipelines.judgement import shipped_judgement
from skerry.pipelines.loading import ModelLoader
from skerry.pipelines.recognize import Recognizer
from skerry.pipelines.reindex import Reindexer
from skerry.pipelines.search import ImageSearch
from skerry.pipelines.served import ServedModels
from skerry.pipelines.similar import SimilarImages
from skerry.pipelines.stages import ORDER
from skerry.pipelines.status import StatusBoard
from skerry.pipelines.text_loading import LocalTextLoader
from skerry.pipelines.texts import Defaults, TextModels
from skerry.sql.changes import ChangeLog
from skerry.sql.images import ImageTable
from skerry.sql.keywords import KeywordIndex
from skerry.sql.spaces import Space, SpaceTable
from skerry.sql.sqlite import SqliteDatabase
from skerry.vectors.base import CollectionSpec, FieldType

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
            await self._open_stores()
            self._require_key()
            await self._wire()
        except BaseException:
            await self._stack.aclose()
            raise
        self._starting = asyncio.create_task(self._start())
        self._starting.add_done_callback(_log_failure)
        keeping = Housekeeping(self.keys, ChangeLog(self._db), metrics=self.metrics)
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
        return await self._reindexer.use(name)

    async def rebuild_index(self) -> Job:
        """Start a rebuild of the active index."""
        return await self._reindexer.rebuild()

    async def use_embedding(self, name: str) -> Job:
        """Start to move the documents to another embedding model."""
        return await self._document_reindexer.use(name)

    async def optimize_index(self) -> Job:
        """Start an optimisation of the active index."""
        return await self._reindexer.optimize()

    async def _open_stores(self) -> None:
        data = self.settings.data_folder
        self._stack.callback(os.close, lock_folder(data))
        self._db = await asyncio.to_thread(SqliteDatabase, data / "skerry.db")
        self._stack.push_async_callback(self._db.close)
        self._blobs = FileBlobs(data / "blobs")
        self.kv = open_backend("kv", self.settings.kv, folder=data)
        self._stack.push_async_callback(self.kv.close)
        secret = write_local_key(data)
        self._stack.callback(remove_local_key, data, secret)
        self.keys = KeyRing(self._db, local_secret=secret)
        self._stack.push_async_callback(self.keys.store_use)
        sync_folders(data, data.parent)
        self.jobs = JobBoard(self._db)
        await self.jobs.recover()
        self._stack.push_async_callback(self.jobs.close)

    async def _wire(self) -> None:
        limits = self.settings.limits
        table, spaces = ImageTable(self._db), SpaceTable(self._db)
        cores = self.settings.models.threads or usable_cores()
        # One more than cores: a thread that waits for the GIL leaves no core idle.
        threads = ThreadPoolExecutor(cores + 1, thread_name_prefix="compute")
        self._stack.callback(threads.shutdown, cancel_futures=True)
        fetcher = Fetcher(self._model_folder, self.settings.models)
        self._stack.callback(fetcher.close)
        budget = MemoryBudget(self.settings.models.memory_limit_bytes)
        self._wire_texts(fetcher, threads, budget)
        loader = ModelLoader(
            fetcher, self.settings, cache=self._open_cache(), budget=budget, metrics=self.metrics
        )  # fmt: skip
        active = spaces.active()
        wanted = self.settings.models.image
        self.models = ServedModels(
            loader.load, default=active.model if active else wanted or DEFAULT_IMAGE_MODEL
        )
        self._stack.push_async_callback(self.models.close)
        self._index = IndexSwitch()
        self._stack.push_async_callback(self._index.close)
        similar = SimilarImages(self.models, self._index, table.summaries)
        self.recognizer = Recognizer(similar)
        self.library = ImageLibrary(
            self._db, table, self._blobs, self.models, self._index, max_pixels=limits.max_pixels
        )
        self.image_search = ImageSearch(self.library, similar)
        self._wire_documents(threads)
        self._reindexer = Reindexer(
            self._db, spaces, self.library, self.models, self._index, self.jobs,
            make_index=self._make_image_index, wanted=wanted,
        )  # fmt: skip
        self._stack.push_async_callback(self._reindexer.close)
        self.board = StatusBoard(
            db=self._db, library=self.library, models=self.models, texts=self.texts,
            documents=self.documents, index=self._index,
            metrics=self.metrics, data=self.settings.data_folder, queue_limit=limits.queue,
        )  # fmt: skip

    def _wire_texts(
        self, fetcher: Fetcher, threads: ThreadPoolExecutor, budget: MemoryBudget
    ) -> None:
        settings = self.settings.models
        loader = LocalTextLoader(fetcher, self.settings, threads=threads, metrics=self.metrics)
        self.texts = TextModels(
            loader,
            defaults=Defaults(settings.embedding, settings.classifier, settings.chat),
            budget=budget,
            keep_alive_s=settings.keep_alive_s,
        )
        budget.make_room_by(self.texts.unload_longest_idle)
        self._stack.push_async_callback(self.texts.close)

    def _wire_documents(self, threads: ThreadPoolExecutor) -> None:
        spaces = SpaceTable(self._db, "chunk")
        self._document_index = DocumentIndex(
            spaces,
            make_index=self._make_chunk_index,
            default_model=self.settings.models.embedding,
        )
        self._stack.push_async_callback(self._document_index.close)
        self.documents = DocumentLibrary(
            self._db, self.texts, self._document_index, threads=threads
        )
        self._stack.push_async_callback(self.documents.close)
        self._document_reindexer = DocumentReindexer(
            self._db, spaces, self.documents, self.texts, self.jobs
        )
        self.document_search = DocumentSearch(
            self.documents.table, KeywordIndex(self._db), self.texts, self._document_index
        )
        self._wire_answers()

    def _wire_answers(self) -> None:
        settings = self.settings
        finder = Finder(
            self.document_search, KeywordIndex(self._db), self.texts, self._document_index,
            judgement=shipped_judgement(),
        )  # fmt: skip
        writer = CitedWriter(
            finder, self.texts,
            wait_s=settings.limits.deadline_s, write_s=settings.generation.deadline_s,
        )  # fmt: skip
        self.answerer = Answerer(
            finder, writer, can_phrase=lambda: can_phrase(self._model_folder, settings)
        )

    def _make_image_index(self, space: Space) -> Index:
        feed = ImageIndexFeed(self._db, space=space.name)
        return self._make_index("images", IMAGE_FIELDS, space, feed)

    def _make_chunk_index(self, space: Space) -> Index:
        feed = ChunkIndexFeed(self._db, space=space.name)
        return self._make_index("documents", CHUNK_FIELDS, space, feed)

    def _make_index(
        self, name: str, fields: Mapping[str, FieldType], space: Space, feed: Feed
    ) -> Index:
        return Index(
            CollectionSpec(name, space.name, space.size, fields=fields),
            feed=feed,
            factory=lambda folder: open_backend("vectors", self.settings.vectors, folder=folder),
            folder=self.settings.data_folder / "index" / space.name.replace(":", "-"),
            metrics=self.metrics,
        )

    def _open_cache(self) -> KeyValueStore | None:
        cache = self.settings.cache
        if cache.type == "off":
            log.info("Feature cache is off: every image is computed")
            return None
        options = {"type": cache.type, "max_bytes": cache.max_bytes}
        if cache.type == "redis":
            options = {"type": "redis", "url": cache.url}
        folder = self.settings.data_folder / "cache"
        opened: KeyValueStore = open_backend("kv", options, folder=folder)
        self._stack.push_async_callback(opened.close)
        return opened

    async def _start(self) -> None:
        """Bring up the default model and the index; each failure is kept in its part's state."""
        try:
            await asyncio.to_thread(self._sweep)
        except SkerryError as error:
            log.warning("What a crash may have left is not swept: %s", error.message)
        await asyncio.gather(self._reindexer.start(), self._document_index.start())
        # Images are served by now: text models may take the line and the disk.
        self.texts.start()

    def _sweep(self) -> None:
        """Remove what a crash left: files without a row, half-written ones."""
        self._blobs.sweep(lambda digest: self.library.table.get(digest) is not None)

    def _require_key(self) -> None:
        if not self._on_loopback and self.keys.is_open:
            raise ConfigError(
                f"Listening on {self.host} without a key would let anybody in.",
                remedy="First: skerry keys create --name me --scope admin",
            )


def _log_failure(start: asyncio.Task[None]) -> None:
    if not start.cancelled() and start.exception() is not None:
        log.error("The start of the node failed", exc_info=start.exception())


def lock_folder(data: Path) -> int:
    """Make and lock the data folder; the file descriptor holds the lock until it is closed.

    Raises StoreUnavailable when another node holds it or it cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"Cannot use the data folder {data}: {error.strerror}.",
            remedy="Name a folder you may write with --data.",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreUnavailable(
            f"Another node uses the data folder {data}.",
            remedy="Stop it, or name another folder with --data.",
        ) from None
    return descriptor


def sync_folders(*folders: Path) -> None:
    """Make the names in these folders survive a loss of power: a new database is one of them."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Documents through the real database, index, tokenizer and encoder (a tiny one)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from skerry.backends import open_backend
from skerry.config import ModelSettings
from skerry.errors import Conflict, DocumentNotFound, SpaceMismatch
from skerry.index.chunks import CHUNK_FIELDS, chunk_filter
from skerry.index.view import Index
from skerry.inference.encoder_loading import load_encoder
from skerry.inference.text_batcher import TextBatcher
from skerry.jobs.board import Job, JobBoard
from skerry.media.tokens import Tokens
from skerry.metrics import Metrics
from skerry.models.manifest import EmbeddingModel
from skerry.pipelines.documents.chunking import Source
from skerry.pipelines.documents.feed import ChunkIndexFeed
from skerry.pipelines.documents.index import DocumentIndex
from skerry.pipelines.documents.library import DocumentLibrary
from skerry.pipelines.documents.reindex import DocumentReindexer
from skerry.pipelines.documents.search import DocumentSearch, Mode, SearchOrder
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.embed import Embedder
from skerry.sql.document_changes import ChunkFeed
from skerry.sql.document_rows import NewDocument
from skerry.sql.keywords import KeywordIndex
from skerry.sql.spaces import Space, SpaceTable
from skerry.sql.sqlite import SqliteDatabase
from skerry.vectors.base import CollectionSpec
from tiny_encoder import install_tiny_encoder

WINDOW = 64
MODES: tuple[Mode, ...] = ("hybrid", "dense", "keyword")
SEALS = NewDocument(
    "seals", "The seals sleep on rocks where the boat sails.", category="animals", timestamp=10
)
CAT = NewDocument("cat", "The cat sat on the mat this morning.", category="animals", timestamp=20)
HARBOUR = NewDocument("harbour", "The harbour is calm.", category="places", timestamp=30)


def embedder_of(folder: Path, *, name: str, seed: int) -> Embedder:
    folder.mkdir()
    model = install_tiny_encoder(folder, seed=seed)
    manifest = msgspec.structs.replace(model.manifest, name=name, space=name)
    model = EmbeddingModel(manifest, folder)
    encoder = load_encoder(model, settings=ModelSettings(precision="fp32"), metrics=Metrics())
    tokens = Tokens(model.path(manifest.text.tokenizer), max_tokens=WINDOW)
    return Embedder(manifest, TextBatcher(encoder, metrics=Metrics(), queue=100), tokens)


class Texts:
    """Gives the embedders it was made of."""

    def __init__(self, *embedders: Embedder) -> None:
        self.embedders = {one.manifest.name: one for one in embedders}

    @asynccontextmanager
    async def embedder(self, name: str) -> AsyncIterator[Embedder]:
        yield self.embedders[name]


class Desk:
    """A library of documents with everything behind it."""

    def __init__(self, folder: Path, db: SqliteDatabase, texts: Texts) -> None:
        self.folder, self.db = folder, db
        self.threads = ThreadPoolExecutor(2)
        spaces = SpaceTable(db, "chunk")
        self.index = DocumentIndex(spaces, make_index=self.make_index, default_model="one")
        self.library = DocumentLibrary(db, texts, self.index, threads=self.threads)  # type: ignore[arg-type]
        self.search_flow = DocumentSearch(
            self.library.table,
            KeywordIndex(db),
            texts,
            self.index,  # type: ignore[arg-type]
        )
        self.jobs = JobBoard(db)
        self.reindexer = DocumentReindexer(db, spaces, self.library, texts, self.jobs)  # type: ignore[arg-type]

    def make_index(self, space: Space) -> Index:
        return Index(
            CollectionSpec("documents", space.name, space.size, fields=CHUNK_FIELDS),
            feed=ChunkIndexFeed(self.db, space=space.name),
            factory=lambda folder: open_backend("vectors", {"type": "exact"}, folder=folder),
            folder=self.folder / "index" / space.name,
            metrics=Metrics(),
        )

    async def add(self, *documents: NewDocument) -> list[str]:
        sources = [Source(document) for document in documents]
        stored = await self.library.add(sources, deadline=soon(), stages=Stages())
        return [one.outcome for one in stored]

    async def found(self, query: str, mode: Mode = "hybrid", **order: object) -> list[str]:
        wanted = SearchOrder(query, mode=mode, **order)  # type: ignore[arg-type]
        page = await self.search_flow.search(wanted, deadline=soon(), stages=Stages())
        return [hit.chunk.document for hit in page.hits]

    async def ended(self, job: Job) -> Job:
        async with asyncio.timeout(20):
            while (now := self.jobs.get(job.id)).state == "running":  # noqa: ASYNC110 - a board
                await asyncio.sleep(0.01)
        return now

    async def close(self) -> None:
        await self.jobs.close()
        await self.index.close()
        await self.library.close()
        self.threads.shutdown()


def soon() -> float:
    return asyncio.get_running_loop().time() + 20


@pytest.fixture
async def texts(tmp_path: Path) -> AsyncIterator[Texts]:
    made = Texts(
        embedder_of(tmp_path / "one", name="one", seed=1),
        embedder_of(tmp_path / "two", name="two", seed=2),
    )
    yield made
    for embedder in made.embedders.values():
        await embedder.close()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "skerry.db")
    yield database
    await database.close()


@pytest.fixture
async def desk(tmp_path: Path, db: SqliteDatabase, texts: Texts) -> AsyncIterator[Desk]:
    made = Desk(tmp_path, db, texts)
    yield made
    await made.close()


@pytest.mark.parametrize("mode", MODES)
async def test_before_the_first_document_nothing_is_found(desk: Desk, mode: Mode) -> None:
    assert await desk.found("seals", mode) == []


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_added_is_found_at_once_best_first(desk: Desk, mode: Mode) -> None:
    assert await desk.add(SEALS, CAT, HARBOUR) == ["created"] * 3
    assert (await desk.found("where the seals sleep", mode))[0] == "seals"
    assert (await desk.found("the harbour is calm", mode))[0] == "harbour"


async def test_documents_are_embedded_with_the_prefix_their_model_has_for_them(
    desk: Desk, db: SqliteDatabase, texts: Texts
) -> None:
    embedder = texts.embedders["one"]
    embedder.manifest = msgspec.structs.replace(
        embedder.manifest, prefixes={"query": "cat ", "document": "boat "}
    )
    await desk.add(HARBOUR)
    (chunk,) = await desk.library.chunks("harbour")
    (stored,) = await ChunkFeed(db, space="one").embedded([chunk.id])
    told = await embedder.embed([f"boat {HARBOUR.text}"], deadline=soon(), stages=Stages())
    assert np.allclose(stored.vector, told.vectors[0], atol=1e-5)


async def test_an_unchanged_document_costs_nothing_and_a_new_text_replaces_the_old(
    desk: Desk,
) -> None:
    await desk.add(SEALS, CAT)
    assert await desk.add(SEALS, replace(CAT, category="pets")) == ["unchanged", "fields_updated"]
    assert await desk.add(replace(SEALS, text="The island is calm.")) == ["updated"]
    assert await desk.found("rocks", "keyword") == []
    assert await desk.found("island", "keyword") == ["seals"]
    pets = chunk_filter(category="pets")
    for mode in MODES:
        assert await desk.found("the cat", mode, filter=pets) == ["cat"]


async def test_one_id_twice_in_a_batch_leaves_the_last_text(desk: Desk) -> None:
    again = replace(SEALS, text="The boat sails.")
    assert await desk.add(SEALS, again) == ["created", "updated"]
    assert (await desk.library.get("seals")).text == "The boat sails."
    assert await desk.add(again, SEALS, again) == ["unchanged", "updated", "updated"]
    assert (await desk.library.get("seals")).text == "The boat sails."


@pytest.mark.parametrize("mode", MODES)
async def test_removed_documents_are_gone_from_every_search(desk: Desk, mode: Mode) -> None:
    await desk.add(SEALS, CAT, HARBOUR)
    await desk.library.remove("seals")
    assert "seals" not in await desk.found("seals sleep on rocks", mode)
    with pytest.raises(DocumentNotFound):
        await desk.library.remove("seals")
    animals = chunk_filter(category="animals")
    assert animals is not None
    assert await desk.library.remove_matching(animals) == 1
    assert "cat" not in await desk.found("the cat", mode)


async def test_pages_thresholds_and_groups_cut_the_same_list(desk: Desk) -> None:
    long = NewDocument("long", "The cat sat on the mat. " * 40)
    await desk.add(long, CAT, HARBOUR)
    whole = await desk.found("the cat sat", limit=100)
    assert whole.count("long") > 1
    assert await desk.found("the cat sat", limit=2, offset=1) == whole[1:3]
    assert await desk.found("the cat sat", group=True) == list(dict.fromkeys(whole))
    assert await desk.found("the cat sat", threshold=2.0) == []


async def test_facets_count_documents_and_highlights_name_the_words(desk: Desk) -> None:
    await desk.add(SEALS, CAT, HARBOUR)
    order = SearchOrder("the cats", mode="keyword")
    page = await desk.search_flow.search(order, deadline=soon(), stages=Stages())
    (hit,) = page.hits
    start, end = hit.highlights[0]
    assert hit.chunk.text[start:end] == "cat"
    assert [(one.value, one.count) for one in page.facets["category"]] == [("animals", 1)]


async def test_documents_move_to_another_model_while_they_are_searched(desk: Desk) -> None:
    await desk.add(SEALS, CAT)
    job = await desk.reindexer.use("two")
    while desk.jobs.get(job.id).state == "running":
        assert (await desk.found(SEALS.text, "dense"))[0] == "seals"
    ended = await desk.ended(job)
    assert (ended.state, ended.done, ended.total) == ("done", 2, 2)
    assert desk.index.model == "two"
    assert (await desk.found(SEALS.text, "dense"))[0] == "seals"
    await desk.add(HARBOUR)
    assert (await desk.found(HARBOUR.text, "dense"))[0] == "harbour"
    assert [space.model for space in SpaceTable(desk.db, "chunk").all()] == ["two"]
    with pytest.raises(Conflict):
        await desk.reindexer.use("two")


async def test_other_weights_under_the_same_name_are_refused_with_the_remedy(
    desk: Desk, texts: Texts
) -> None:
    await desk.add(SEALS)
    texts.embedders["one"] = texts.embedders["two"]
    for work in (desk.add(CAT), desk.found("the cat", "dense")):
        with pytest.raises(SpaceMismatch) as caught:
            await work
        assert "index rebuild --model" in caught.value.remedy
    assert await desk.found("seals", "keyword") == ["seals"]


async def test_after_a_restart_everything_is_found_again(
    desk: Desk, tmp_path: Path, db: SqliteDatabase, texts: Texts
) -> None:
    await desk.add(SEALS, CAT)
    await desk.index.close()
    again = Desk(tmp_path, db, texts)
    await again.index.start()
    for mode in MODES:
        assert (await again.found("where the seals sleep", mode))[0] == "seals"
    await again.close()

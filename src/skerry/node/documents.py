"""Wire the flows over documents: storing, searching, answering."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.index.chunks import CHUNK_FIELDS
from skerry.index.view import Index
from skerry.node.ground import Ground
from skerry.pipelines.answers.answer import Answerer
from skerry.pipelines.answers.cited import CitedWriter, can_phrase
from skerry.pipelines.answers.findings import Finder
from skerry.pipelines.answers.judgement import shipped_judgement
from skerry.pipelines.documents.feed import ChunkIndexFeed
from skerry.pipelines.documents.index import DocumentIndex
from skerry.pipelines.documents.library import DocumentLibrary
from skerry.pipelines.documents.reindex import DocumentReindexer
from skerry.pipelines.documents.search import DocumentSearch
from skerry.pipelines.texts.models import TextModels
from skerry.sql.keywords import KeywordIndex
from skerry.sql.spaces import Space, SpaceTable


@dataclass(frozen=True, slots=True)
class Documents:
    """The document side of a node."""

    index: DocumentIndex
    library: DocumentLibrary
    reindexer: DocumentReindexer
    search: DocumentSearch
    answerer: Answerer


def wire_documents(ground: Ground, texts: TextModels) -> Documents:
    """Make the document side; its index is brought up by `index.start`."""
    stores, stack = ground.stores, ground.stack
    spaces = SpaceTable(stores.db, "chunk")
    index = DocumentIndex(
        spaces,
        make_index=lambda space: _make_index(ground, space),
        default_model=ground.settings.models.embedding,
    )
    stack.push_async_callback(index.close)
    library = DocumentLibrary(stores.db, texts, index, threads=ground.threads)
    stack.push_async_callback(library.close)
    reindexer = DocumentReindexer(stores.db, spaces, library, texts, stores.jobs)
    keywords = KeywordIndex(stores.db)
    search = DocumentSearch(library.table, keywords, texts, index)
    finder = Finder(search, keywords, texts, index, judgement=shipped_judgement())
    return Documents(index, library, reindexer, search, _answer(ground, finder, texts))


def _answer(ground: Ground, finder: Finder, texts: TextModels) -> Answerer:
    settings = ground.settings
    writer = CitedWriter(
        finder, texts,
        wait_s=settings.limits.deadline_s, write_s=settings.generation.deadline_s,
    )  # fmt: skip
    return Answerer(finder, writer, can_phrase=lambda: can_phrase(ground.models, settings))


def _make_index(ground: Ground, space: Space) -> Index:
    feed = ChunkIndexFeed(ground.stores.db, space=space.name)
    return ground.make_index("documents", CHUNK_FIELDS, space, feed)

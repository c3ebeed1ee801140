"""Collections of documents that the node's own search goes over, with vectors kept on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skerry.config import load_settings
from skerry.models.catalogue import DEFAULT_EMBEDDING_MODEL
from skerry.node.node import Node
from skerry.pipelines.answers.findings import Finder
from skerry.pipelines.answers.judgement import shipped_judgement
from skerry.pipelines.documents.chunking import Source, embedded_chunks
from skerry.pipelines.documents.search import DocumentSearch
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.embed import Embedder, Embeddings
from skerry.pipelines.texts.models import OFF
from skerry.sql.document_rows import Addition, NewDocument
from skerry.sql.documents import DocumentTable
from skerry.sql.keywords import KeywordIndex
from skerry.sql.sqlite import SqliteDatabase
from skerry.vectors.base import Match

PATIENCE_S = 3600.0
BATCH = 256
SPACE = "calibration"


class KeptVectors:
    """The embedding model, asked for each text once; `file` keeps its vectors between runs.

    It stands for the node's text models, and for the embedder that they lend.
    """

    def __init__(self, embedder: Embedder, file: Path | None) -> None:
        self.manifest, self.info, self.tokens = embedder.manifest, embedder.info, embedder.tokens
        self._embedder = embedder
        self._file = file
        self._known: dict[bytes, NDArray[np.float32]] = {}
        if file is not None and file.is_file():
            kept = np.load(file)
            self._known = dict(zip(map(bytes, kept["keys"]), kept["vectors"], strict=True))

    @asynccontextmanager
    async def embedder(self, name: str | None = None) -> AsyncIterator[KeptVectors]:
        """Itself."""
        yield self

    async def embed(
        self, texts: Sequence[str], *, deadline: float, stages: Stages, **options: Any
    ) -> Embeddings:
        """As `Embedder.embed`; tokens are not counted."""
        new = sorted({text for text in texts if _key(text) not in self._known}, key=len)
        for start in range(0, len(new), BATCH):
            some = new[start : start + BATCH]
            done = await self._embedder.embed(some, deadline=until(), stages=stages, **options)
            self._known |= dict(zip(map(_key, some), done.vectors, strict=True))
        return Embeddings(np.stack([self._known[_key(text)] for text in texts]), [])

    def known(self, use: str) -> str:
        """As `Embedder.known`."""
        return self._embedder.known(use)

    def keep(self) -> None:
        """Write the file."""
        if self._file is not None:
            keys = np.array([list(key) for key in self._known], np.uint8)
            np.savez(self._file, keys=keys, vectors=np.stack(list(self._known.values())))


@asynccontextmanager
async def kept_vectors(data: Path, file: Path | None) -> AsyncIterator[KeptVectors]:
    """The default embedding model, as a node over the folder `data` loads it.

    Where models lie is for the environment to say, as ever.
    """
    settings = load_settings(flags={"node.data": str(data)})
    settings.models.classifier = settings.models.chat = OFF
    node = Node(settings, host="::1", port=1)
    await node.open()
    try:
        await node.settled()
        # The models say nothing when they have arrived.
        while any(model.state in ("waiting", "pulling") for model in node.texts.all()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        async with node.texts.embedder(DEFAULT_EMBEDDING_MODEL) as embedder:
            vectors = KeptVectors(embedder, file)
            yield vectors
            vectors.keep()
    finally:
        await node.close()


def documents_in(folder: Path) -> list[NewDocument]:
    """Each .md file that holds something, under its name."""
    texts = {path: path.read_text("utf-8") for path in sorted(folder.rglob("*.md"))}
    return [
        NewDocument(str(path.relative_to(folder)), text)
        for path, text in texts.items()
        if text.strip()
    ]


async def additions(documents: Sequence[NewDocument], vectors: KeptVectors) -> dict[str, Addition]:
    """The documents by id, cut and embedded as the node does it."""
    embedder: Any = vectors
    with ThreadPoolExecutor(2) as threads:
        chunks = await embedded_chunks(
            [Source(one) for one in documents], embedder, threads=threads, deadline=until(),
            stages=Stages(),
        )  # fmt: skip
    pairs = zip(documents, chunks, strict=True)
    return {one.id: Addition(one, its_chunks) for one, its_chunks in pairs}


@asynccontextmanager
async def finder_over(
    documents: Sequence[Addition], vectors: KeptVectors, *, folder: Path
) -> AsyncIterator[Finder]:
    """The node's flow up to the judgement, over these documents alone."""
    db = SqliteDatabase(folder / "library.db")
    try:
        table, keywords = DocumentTable(db), KeywordIndex(db)
        await db.write(lambda tx: table.put(tx, documents, space=SPACE))
        index: Any = AllVectors(db)
        texts: Any = vectors
        search = DocumentSearch(table, keywords, texts, index)
        yield Finder(search, keywords, texts, index, judgement=shipped_judgement())
    finally:
        await db.close()


class AllVectors:
    """Stands for the index of chunks: compares with every vector there is."""

    model = DEFAULT_EMBEDDING_MODEL
    space = SPACE

    def __init__(self, db: SqliteDatabase) -> None:
        self.switch = self
        rows = db.read("SELECT item_id, vector FROM embeddings WHERE kind = 'chunk'", ())
        self._ids = [int(row[0]) for row in rows]
        self._vectors = np.stack([np.frombuffer(vector, "<f4") for _, vector in rows])

    def check(self, embedder: object) -> None:
        """Everything was embedded by the same model."""

    async def search(
        self, vector: NDArray[np.float32], *, limit: int, **options: object
    ) -> list[Match]:
        """The nearest, nearest first."""
        scores = self._vectors @ vector
        best = np.argsort(-scores, kind="stable")[:limit]
        return [Match(self._ids[at], float(scores[at])) for at in best]


def until() -> float:
    """A deadline far away."""
    return asyncio.get_running_loop().time() + PATIENCE_S


def _key(text: str) -> bytes:
    return sha256(text.encode()).digest()

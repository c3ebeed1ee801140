"""The keyword index: which chunks contain the terms of a query, ranked by BM25."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from skerry.errors import BadRequest
from skerry.filters import Filter
from skerry.media.words import is_lone
from skerry.sql.base import Database, Transaction
from skerry.sql.document_filters import document_clause

MAX_TERMS = 1_000


@dataclass(frozen=True, slots=True)
class TermCounts:
    """How many chunks have each term, and about how many chunks there are."""

    having: Mapping[str, int]
    chunks: int

    def weights(self) -> dict[str, float]:
        """What BM25 gives a term for being rare; one that no chunk has weighs most."""
        return {
            term: math.log(1 + max(0, self.chunks - having + 0.5) / (having + 0.5))
            for term, having in self.having.items()
        }


class KeywordIndex:
    """Terms of chunks, as the caller made them; a chunk's go when the chunk goes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, tx: Transaction, chunk_id: int, terms: Sequence[str]) -> None:
        """Index a new chunk by its terms, in the order of the text, repetitions included."""
        tx.execute(
            "INSERT INTO chunk_terms (rowid, terms) VALUES (?, ?)", (chunk_id, " ".join(terms))
        )

    async def search(
        self, terms: Sequence[str], *, limit: int, filter: Filter | None = None
    ) -> list[tuple[int, float]]:
        """Chunk ids with their scores (BM25, k1 1.2, b 0.75; larger is better), best first.

        A chunk is found by any of the terms; one that is given twice counts twice, and one lone
        character of Chinese, Japanese or Korean finds the pairs that begin with it. The filter is
        over documents: BadRequest as `document_clause`, and for more than MAX_TERMS terms.
        """
        _check_count(terms)
        if not terms:
            return []
        query = " OR ".join(_quoted(term) for term in terms)
        if filter is None:
            rows = await self._db.query(f"{FOUND} {BEST}", (query, limit))
        else:
            clause = document_clause(filter)
            rows = await self._db.query(
                f"{FOUND} AND +rowid IN (SELECT chunks.id FROM documents "
                f"JOIN chunks ON document = documents.key WHERE {clause.sql}) {BEST}",
                (query, *clause.arguments, limit),
            )
        return [(int(chunk_id), float(score)) for chunk_id, score in rows]

    async def counts(self, terms: Sequence[str]) -> TermCounts:
        """How many chunks have each term; BadRequest for more than MAX_TERMS terms."""
        _check_count(terms)
        quoted = {_quoted(term): term for term in terms}
        rows = await self._db.query(COUNTED, (msgspec.json.encode(list(quoted)).decode(),))
        chunks = int(rows[0][2]) if rows else 0
        return TermCounts({quoted[str(term)]: int(having) for term, having, _ in rows}, chunks)


# bm25() is smaller the better a match is.
FOUND = "SELECT rowid, -bm25(chunk_terms) AS score FROM chunk_terms WHERE chunk_terms MATCH ?"
BEST = "ORDER BY score DESC, rowid LIMIT ?"
# The greatest id stands for the number of chunks, which would have to be counted.
COUNTED = (
    "SELECT value, "
    "(SELECT count(*) FROM chunk_terms WHERE chunk_terms MATCH value), "
    "(SELECT coalesce(max(id), 0) FROM chunks) FROM json_each(?)"
)


def _check_count(terms: Sequence[str]) -> None:
    if len(terms) > MAX_TERMS:
        raise BadRequest(
            f"The query has more than {MAX_TERMS} words.", remedy="Ask with fewer words."
        )


def _quoted(term: str) -> str:
    # FTS5 reads a query up to the first NUL, which parts terms in the index.
    quoted = '"' + term.replace('"', '""').replace("\0", " ") + '"'
    return f"{quoted}*" if is_lone(term) else quoted

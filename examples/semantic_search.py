"""The guide's `SemanticSearchEngine` against a node: index and search, a request each.

    skerry up
    python examples/semantic_search.py            # SKERRY_URL and SKERRY_KEY name another node

The guide's program loads a BERT, embeds each text, and keeps a Qdrant collection and the texts in
step. The node does all of it; left are the guide's own shapes.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass
from uuid import NAMESPACE_OID, uuid5

import httpx

BATCH = 100
DAY_S = 86_400


@dataclass(frozen=True)
class Document:
    """What is searched for; `timestamp` in Unix seconds."""

    text: str
    category: str
    timestamp: int


@dataclass(frozen=True)
class SearchResult:
    """A document, and how well it fits."""

    id: str
    score: float
    document: Document


class SemanticSearchEngine:
    """Searches documents by meaning, on the node behind `http`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def index_documents(self, documents: list[Document]) -> None:
        """Store documents, found from then on. What is stored already costs nothing."""
        for start in range(0, len(documents), BATCH):
            # The same text is the same document, however often it comes.
            batch = [
                {"id": str(uuid5(NAMESPACE_OID, document.text)), **asdict(document)}
                for document in documents[start : start + BATCH]
            ]
            answer = self._http.post("/api/documents", json=batch).raise_for_status().json()
            failed = [one["error"] for one in answer["documents"] if one["status"] == "failed"]
            if failed:
                raise ValueError(f"{len(failed)} could not be stored: {failed[0]['message']}")

    def search(
        self,
        query: str,
        *,
        limit: int = 5,
        category: str | None = None,
        min_date: int | None = None,
    ) -> list[SearchResult]:
        """The documents nearest to `query`, of a category and from a date on if these are given."""
        narrow = {"category": category, "min_date": min_date}
        asked = {name: value for name, value in narrow.items() if value is not None}
        body = {"query": query, "limit": limit, "mode": "dense", "group": True, **asked}
        answer = self._http.post("/api/search", json=body).raise_for_status().json()
        return [
            SearchResult(
                found["id"],
                found["score"],
                Document(found["text"], found["category"], found["timestamp"]),
            )
            for found in answer["results"]
        ]


def connect() -> httpx.Client:
    """An HTTP client at the node that the environment names, else at this machine's."""
    key = os.environ.get("SKERRY_KEY")
    return httpx.Client(
        base_url=os.environ.get("SKERRY_URL", "http://127.0.0.1:8642"),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=60,
    )


def main() -> None:
    now = int(time.time())
    documents = [
        Document("Rust gives memory safety without a garbage collector.", "programming", now),
        Document("Python is popular for data science.", "programming", now - 400 * DAY_S),
        Document("A vector database finds what is near in meaning.", "databases", now),
        Document("The pasta is done when it is still firm to the bite.", "cooking", now),
    ]
    with connect() as http:
        engine = SemanticSearchEngine(http)
        engine.index_documents(documents)
        questions = {
            "which language is safe with memory?": {},
            "languages for analysing data": {"category": "programming"},
            "languages of the last year": {
                "category": "programming",
                "min_date": now - 365 * DAY_S,
            },
        }
        for question, narrow in questions.items():
            print(question)
            for result in engine.search(question, limit=2, **narrow):
                print(f"  {result.score:.3f}  [{result.document.category}] {result.document.text}")


if __name__ == "__main__":
    try:
        main()
    except httpx.HTTPStatusError as error:
        sys.exit(f"The node refused: {error.response.text}")
    except httpx.TransportError:
        sys.exit("No node answers: start one with 'skerry up', or name it in SKERRY_URL.")

"""The guide's `RagSystem` against a node: retrieval, prompt and model in one call.

    skerry up
    python examples/rag.py "How is the filter changed?"   # SKERRY_URL names another node

The guide's program finds the five nearest documents, joins them into a prompt and lets a language
model go on from there. `POST /api/ask` does that with `mode="generate"`. Left to itself (`auto`) it
quotes where the model is too small to be trusted with the wording; and it says so when the
documents do not answer, which the guide's program never did.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

import httpx

Mode = Literal["auto", "extract", "generate"]
CONTEXT_DOCUMENTS = 5
MANUAL = {
    "filter": "To change the filter of the P3 pump, unscrew the lid and lift the filter out. "
    "A new filter lasts for six months.",
    "noise": "A rattling pump has air in its pipe. Open the valve on top until water comes out.",
    "winter": "Empty the pump before the first frost: frozen water breaks the housing.",
}


@dataclass(frozen=True)
class Answer:
    """The answer, or None where the documents have none; `sources` are what it rests on."""

    text: str | None
    sources: list[dict[str, Any]]
    reason: str = ""


class RagSystem:
    """Answers questions from documents, on the node behind `http`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def add_documents(self, texts: dict[str, str], *, category: str) -> None:
        """Store texts by their id; a known id gets the new text."""
        batch = [{"id": name, "text": text, "category": category} for name, text in texts.items()]
        self._http.post("/api/documents", json=batch).raise_for_status()

    def query(self, question: str, *, category: str, mode: Mode = "auto") -> Answer:
        """Answer `question` from the documents of a category."""
        body = {
            "question": question,
            "limit": CONTEXT_DOCUMENTS,
            "mode": mode,
            "filter": {"category": category},
        }
        answer = self._http.post("/api/ask", json=body).raise_for_status().json()
        return Answer(answer["answer"], answer["sources"], answer.get("reason") or "")


def connect() -> httpx.Client:
    """An HTTP client at the node that the environment names, else at this machine's."""
    key = os.environ.get("SKERRY_KEY")
    return httpx.Client(
        base_url=os.environ.get("SKERRY_URL", "http://127.0.0.1:8642"),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=120,
    )


def main() -> None:
    questions = sys.argv[1:] or ["Why does the pump rattle?", "Who won the cup in 1974?"]
    with connect() as http:
        rag = RagSystem(http)
        rag.add_documents(MANUAL, category="example-manual")
        for question in questions:
            answer = rag.query(question, category="example-manual")
            print(question)
            print(f"  {answer.text or f'Not in here. {answer.reason}'}")
            for source in answer.sources:
                print(f"  [{source['id']}, {source['start']}-{source['end']}] {source['text']}")


if __name__ == "__main__":
    try:
        main()
    except httpx.HTTPStatusError as error:
        sys.exit(f"The node refused: {error.response.text}")
    except httpx.TransportError:
        sys.exit("No node answers: start one with 'skerry up', or name it in SKERRY_URL.")

"""Found chunks are taken apart into sentences with their places."""

from __future__ import annotations

import pytest

from skerry.pipelines.answers.extract import Sentence, sentences_of
from skerry.pipelines.documents.search import Hit
from skerry.sql.document_rows import FoundChunk

TEXT = """# Pumps

Open the lid. Lift the filter out.
A filter lasts six months.

Call us when the pump rattles."""


def hit(start: int, end: int, *, id: int = 1, score: float = 0.5, text: str = TEXT) -> Hit:
    chunk = FoundChunk(id, 0, start, end, None, "", text[start:end], "manual", None, None, None, {})
    return Hit(chunk, score, [])


def texts(sentences: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


def test_sentences_stand_where_they_say_in_the_documents_text() -> None:
    found = sentences_of([hit(TEXT.index("Open"), len(TEXT))])
    assert texts(found) == [
        "Open the lid.",
        "Lift the filter out.",
        "A filter lasts six months.",
        "Call us when the pump rattles.",
    ]
    assert all(TEXT[one.start : one.end] == one.text for one in found)


def test_what_two_chunks_share_is_read_once_with_the_better_chunk() -> None:
    middle = TEXT.index("Lift")
    end = TEXT.index("\n\nCall")
    first, second = hit(middle, len(TEXT), id=1), hit(0, end, id=2)
    found = sentences_of([first, second])
    assert len({(one.start, one.end) for one in found}) == len(found) == 5
    lasts = next(one for one in found if "lasts" in one.text)
    assert (lasts.chunk.id, lasts.rank) == (1, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  x = 1;\n}\n```\n\nIt is so. It was.", ["It is so.", "It was."]),
        ("}\n```\n\nIt is so.\n\n```rust\nfn a() {}", ["It is so.", "```rust\nfn a() {}"]),
        ("Intro.\n\n```rust\na();\n```\n\nAfter.", ["Intro.", "```rust\na();\n```", "After."]),
        ("```\na();\n```\n\nAfter.", ["```\na();\n```", "After."]),
    ],
)
def test_a_chunk_that_begins_within_code_is_read_as_text_where_the_code_has_ended(
    text: str, expected: list[str]
) -> None:
    found = texts(sentences_of([hit(0, len(text), text=text)]))
    assert found[-len(expected) :] == expected

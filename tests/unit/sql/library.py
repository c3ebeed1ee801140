"""Small documents, whose words are their terms and whose chunks are lines."""

import numpy as np

from skerry.sql.document_rows import Addition, NewChunk, NewDocument, Stored
from skerry.sql.documents import DocumentTable
from skerry.sql.sqlite import SqliteDatabase

TEXT_SPACE = "minilm"


def text_vector(text: str) -> np.ndarray:
    return np.frombuffer(text.encode().ljust(4, b"\1")[:4] * 4, np.uint8)[:8].astype(np.float32)


def addition(document: NewDocument, *, embedded: bool = True) -> Addition:
    if not embedded:
        return Addition(document, None)
    chunks, start = [], 0
    for number, line in enumerate(document.text.split("\n")):
        if line:
            end = start + len(line)
            vector = text_vector(line)
            chunks.append(NewChunk(start, end, line.split(), vector, page=number + 1, heading="h"))
        start += len(line) + 1
    return Addition(document, chunks)


async def store(db: SqliteDatabase, *documents: NewDocument, embedded: bool = True) -> list[Stored]:
    table = DocumentTable(db)
    additions = [addition(document, embedded=embedded) for document in documents]
    return await db.write(lambda tx: table.put(tx, additions, space=TEXT_SPACE))

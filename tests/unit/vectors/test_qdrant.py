"""What a server's refusals mean, and what is refused before it is asked; plain sockets answer."""

import asyncio
import json
import time

import numpy as np
import pytest

from skerry.backends import open_backend
from skerry.errors import ConfigError, IndexUnavailable, Overloaded, Unprocessable
from skerry.vectors.base import CollectionSpec
from skerry.vectors.qdrant_record import Record, decode_record, encode_record
from skerry.vectors.qdrant_server import QdrantOptions, QdrantServer

RECORD = Record(CollectionSpec("c", "s", 4, fields={"a": "keyword"}, epoch="e"), "token", 7, 3)


def said(words):
    return json.dumps({"status": {"error": words}, "time": 0.0})


class Answering:
    """A server that answers everything the same, or not at all."""

    def __init__(self):
        self.answer = None
        self.requests = []

    def says(self, status, body, headers=""):
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}"
        self.answer = f"{head}Connection: close\r\n\r\n{body}".encode()

    async def serve(self, reader, writer):
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        if self.answer is None:
            await reader.read()
        else:
            writer.write(self.answer)
            await writer.drain()
        writer.close()


@pytest.fixture
async def answering():
    answering = Answering()
    listener = await asyncio.start_server(answering.serve, "127.0.0.1", 0)
    answering.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield answering
    listener.close()


@pytest.fixture
async def server(answering):
    options = QdrantOptions(url=answering.url, api_key="secret", timeout_s=0.3)
    server = QdrantServer(options)
    yield server
    await server.close()


def search(server):
    return server.search("c", np.ones(4, np.float32), limit=1, filter=None, exact=False)


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, said("Index required"), Unprocessable, "refuses: Index required"),
        (401, "no", IndexUnavailable, r"refuses the API key \(401\)"),
        (403, "no", IndexUnavailable, r"refuses the API key \(403\)"),
        (404, said("doesn't exist"), IndexUnavailable, "no such collection: doesn't exist"),
        (500, said("disk"), IndexUnavailable, "answers 500: disk"),
        (502, "<html>proxy", IndexUnavailable, "answers 502: <html>proxy"),
        (200, "<html>a login page", IndexUnavailable, "is none: JSONDecodeError"),
        (200, "{}", IndexUnavailable, "is none: AssertionError"),
        (200, '{"result": 3}', IndexUnavailable, "is none: ValidationError"),
    ],
)
async def test_each_refusal_has_its_meaning(answering, server, status, body, error, words):
    answering.says(status, body)
    with pytest.raises(error, match=words) as caught:
        await search(server)
    assert answering.url.removeprefix("http://") in str(caught.value)
    assert caught.value.remedy
    assert "secret" not in str(caught.value) + caught.value.remedy
    assert b"api-key: secret" in answering.requests[0]


async def test_server_with_too_much_to_do_says_when_to_come_again(answering, server):
    answering.says(429, said("slow down"), "Retry-After: 7\r\n")
    with pytest.raises(Overloaded) as caught:
        await search(server)
    assert caught.value.retry_after_s == 7


async def test_server_that_does_not_answer_is_not_waited_for(server):
    began = time.monotonic()
    with pytest.raises(IndexUnavailable, match=r"within 0.3 s"):
        await search(server)
    assert time.monotonic() - began < 20


async def test_collection_that_is_gone_has_no_record_and_is_deleted_already(answering, server):
    answering.says(404, said("doesn't exist"))
    assert await server.read_record("c") is None
    await server.drop("c")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no address"),
        ("qdrant:6333", "no address"),
        ("ftp://qdrant", "no address"),
        ("http://qdrant:99999", "no address"),
        ("http://me:secret@qdrant:6333", "login"),
    ],
)
def test_url_that_is_none_is_refused_before_anything_is_opened(tmp_path, url, words):
    with pytest.raises(ConfigError, match=words) as caught:
        open_backend("vectors", {"type": "qdrant", "url": url}, folder=tmp_path)
    assert "secret" not in str(caught.value)


def test_record_outlasts_json_and_what_is_none_is_none():
    values = json.loads(json.dumps(encode_record(RECORD)))
    assert decode_record(values) == RECORD
    for broken in (None, {}, [], {**values, "applied_seq": "x"}):
        assert decode_record(broken) is None

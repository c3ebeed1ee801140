"""Requests that are nearly right: whole ones, damaged at random places."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes

from PIL import Image

from pictures import encoded, photo

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
BOUNDARY = b"fuzz-frontier"
IMAGE_PATHS = ("/api/recognize", "/api/images", "/api/images/search")
JSON_CALLS = (
    ("POST", "/api/images/search", b'{"id": 1, "limit": 5, "filter": {"tags": {"a": "b"}}}'),
    ("PATCH", "/api/images/1", b'{"filename": "a.jpg", "tags": {"shelf": 3, "open": true}}'),
    ("POST", "/api/session", b'{"key": "sk_abc"}'),
    ("PUT", "/api/models/default", b'{"name": "nothing"}'),
    ("POST", "/api/recognize", b'{"image": "aGVsbG8gd29ybGQ="}'),
    ("POST", "/api/documents", b'{"id": "a/b", "text": "The cat sat.", "timestamp": 17}'),
    (
        "POST",
        "/api/documents",
        b'[{"id": "a", "text": "b", "metadata": {"n": [1, "x"]}}, {}]',
    ),
    ("POST", "/api/documents/delete", b'{"filter": {"must": [{"key": "category", "range": {}}]}}'),
    ("POST", "/api/documents/delete", b'{"ids": ["a", "b/c"]}'),
    ("POST", "/api/search", b'{"query": "cat", "filter": {"timestamp": {"gte": 1, "lt": 2}}}'),
    ("POST", "/api/search", b'{"query": "cat", "mode": "keyword", "facets": ["metadata.n"]}'),
)
LINES = (
    (b"application/x-ndjson", b'{"id": "a", "text": "b"}\n\n{"id": "c", "text": "The cat sat."}\n'),
    (b"text/csv", b'id,text,title,n\na,"The cat, it sat",t,3\nb,on the mat,,\n'),
)
QUERIES = (
    ("GET", "/api/images", b"limit=5&cursor=MTIzLjQ&uploaded_by=ann&tag.shelf=3&label=cat"),
    ("GET", "/api/images", b"created_after=1700000000&created_before=2026-01-01T00:00:00Z"),
    ("GET", "/api/images/1/thumbnail", b"size=64"),
    ("GET", "/api/jobs/1", b"x=1"),
    ("GET", "/v1/models/fast", b""),
    ("GET", "/api/documents", b"category=a&metadata.n=3&timestamp_after=2026-01-31&limit=5"),
    ("GET", "/api/documents/a%2Fb", b"chunks=true"),
)
ODD_BYTES = (b"\x00", b"\xff", b"\xed\xa0\x80", b"\r\n", b"--", b'"', b"{", b"%", b"\x7f", b";")
RAW = (
    b"POST /api/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /api/images?limit=3 HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-5\r\n\r\n",
    b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    b"GET /readyz HTTP/1.0\r\nHost: localhost\r\nCookie: skerry_session=x\r\n\r\n",
    b"DELETE /api/images/1 HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\r\n\r\n",
)


@dataclass(frozen=True)
class Request:
    """One request; `raw` bytes go to the socket as they are."""

    method: str = "POST"
    path: str = "/"
    body: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    raw: bytes = b""


class Mutations:
    """An endless supply; the same seed gives the same requests."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._images = [_seed_image(kind, index) for kind in FORMATS for index in range(3)]
        self._kinds: tuple[tuple[int, Callable[[], Request]], ...] = (
            (40, self._image),
            (15, self._form),
            (10, self._base64),
            (15, self._json),
            (5, self._lines),
            (10, self._query),
            (10, self._socket),
        )

    def next(self) -> Request:
        """Another request."""
        weights = [weight for weight, _ in self._kinds]
        make = self._random.choices([make for _, make in self._kinds], weights)[0]
        return make()

    def damaged(self, data: bytes) -> bytes:
        """`data` with one to eight changes: bits, bytes, cuts, repeats, splices, odd bytes."""
        for _ in range(self._random.randint(1, 8)):
            data = self._change(data)
        return data

    def _change(self, data: bytes) -> bytes:
        dice = self._random
        if not data:
            return dice.randbytes(dice.randint(1, 32))
        at, other = dice.randrange(len(data)), dice.randrange(len(data))
        start, end = min(at, other), max(at, other)
        match dice.randrange(8):
            case 0:
                return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
            case 1:
                return data[:at] + dice.randbytes(dice.randint(1, 4)) + data[at + 4 :]
            case 2:
                return data[:at] if dice.random() < 0.3 else data[: max(at, len(data) // 2)]
            case 3:
                return data[:end] + data[start:end][:5000] + data[end:]
            case 4:
                return data[:start] + data[min(end, start + 200) :]
            case 5:
                return data[:at] + dice.choice(ODD_BYTES) + data[at:]
            case 6:
                return data[:start] + dice.choice(self._images)[start:end] + data[end:]
            case _:
                head = bytearray(data)
                head[dice.randrange(min(len(head), 64))] = dice.choice((0, 1, 127, 128, 255))
                return bytes(head)

    def _picture(self) -> bytes:
        return self.damaged(self._random.choice(self._images))

    def _image(self) -> Request:
        kind = self._random.choice((b"image/jpeg", b"application/octet-stream", b"text/html", b""))
        path = self._random.choice(IMAGE_PATHS[:2])
        return Request("POST", path, self._picture(), {b"content-type": kind})

    def _form(self) -> Request:
        parts = [_part(b'name="file"; filename="a.jpg"', self._picture())]
        if self._random.random() < 0.5:
            parts.append(_part(b'name="tags"', self.damaged(b'{"shelf": "3"}')))
        if self._random.random() < 0.3:
            parts.append(_part(b'name="limit"', self.damaged(b"5")))
        body = b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"
        if self._random.random() < 0.6:
            body = self.damaged(body)
        kind = b"multipart/form-data; boundary=" + BOUNDARY
        return Request(
            "POST", self._random.choice(IMAGE_PATHS), body, {b"content-type": self._header(kind)}
        )

    def _base64(self) -> Request:
        text = base64.b64encode(self._picture())
        if self._random.random() < 0.3:
            text = self.damaged(text)
        body = json.dumps({"image": text.decode("latin-1")}).encode()
        return Request("POST", "/api/recognize", body, {b"content-type": b"application/json"})

    def _json(self) -> Request:
        method, path, body = self._random.choice(JSON_CALLS)
        kind = {b"content-type": b"application/json"}
        return Request(method, path, self.damaged(body), kind)

    def _lines(self) -> Request:
        kind, body = self._random.choice(LINES)
        return Request("POST", "/api/documents", self.damaged(body), {b"content-type": kind})

    def _query(self) -> Request:
        method, path, query = self._random.choice(QUERIES)
        damaged = quote_from_bytes(self.damaged(query), safe="=&%.")
        return Request(method, f"{path}?{damaged}")

    def _socket(self) -> Request:
        return Request(raw=self.damaged(self._random.choice(RAW)))

    def _header(self, value: bytes) -> bytes:
        if self._random.random() < 0.7:
            return value
        # What no client library would let through is the business of the raw requests.
        return bytes(byte for byte in self.damaged(value) if 32 <= byte < 127).strip()


def _seed_image(kind: str, index: int) -> bytes:
    image = photo(size=(40 + 30 * index, 50), seed=index)
    options: dict[str, object] = {}
    if index == 1:
        image = image.convert("P" if kind in ("GIF", "PNG", "BMP") else "L")
    if index == 2 and kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"save_all": True, "append_images": [photo(size=(100, 50), seed=9)]}
    if kind == "JPEG":
        exif = Image.Exif()
        exif[0x0112] = index + 5
        options = {"exif": exif, "progressive": index == 2}
    return encoded(image, kind, **options)


def _part(name: bytes, data: bytes) -> bytes:
    head = b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; " + name
    return head + b"\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n"

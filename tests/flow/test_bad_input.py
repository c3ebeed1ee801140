"""What people and machines send by mistake or in malice: the right answer or a clear 4xx, soon."""

from __future__ import annotations

import base64
import io
import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from calls import memory_kb, part, refused, store, unique
from PIL import Image

from pictures import encoded, jpeg, photo, png, png_bomb

# A second is what is asked for; a busy machine must not decide a test. proofs/fuzz.py measures.
SOON_S = 5.0
BOUNDARY = "frontier"


@pytest.fixture(autouse=True)
def answered_soon(client: httpx.Client) -> Iterator[None]:
    """Every single answer of these tests comes soon, and no answer is a 5xx."""
    slow: list[str] = []

    def check(response: httpx.Response) -> None:
        response.read()
        took_s = response.elapsed.total_seconds()
        if took_s > SOON_S:
            slow.append(f"{response.request.method} {response.request.url}: {took_s:.2f} s")
        assert response.status_code < 500, response.text

    client.event_hooks["response"].append(check)
    yield
    assert not slow


def vector(client: httpx.Client, data: bytes) -> np.ndarray[Any, Any]:
    answer = client.post("/api/recognize", content=data)
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["feature_vector"])


def cosine(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(one @ other)


def refused_everywhere(client: httpx.Client, data: bytes, *statuses: int, code: str = "") -> None:
    """The image is refused by whatever reads images, in every form of the body."""
    answers = [
        client.post("/api/recognize", content=data),
        client.post("/api/recognize", files=[part(data)]),
        client.post("/api/recognize", json={"image": base64.b64encode(data).decode()}),
        client.post("/api/images", content=data),
        client.post("/api/images", files=[part(data)]),
        client.post("/api/images/search", files=[part(data)]),
    ]
    for answer in answers:
        error = refused(answer, *statuses)
        assert not code or error["code"] == code, error


@pytest.mark.parametrize(
    "data",
    [
        b"Dear node, this is a letter.", b"\x00", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a",
        b"%PDF-1.7\n%\xe2\xe3", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF\0\0\0\0WEBP",
        b"\xff\xd8\xff\xe0" + bytes(5000), b"P6 1 1 255 abc", b"II*\x00\x08\x00\x00\x00", b"BM",
        b"MZ" + bytes(100), b"{}", b"[]", b"null", b"8BPS\x00\x01" + bytes(40),
    ],
    ids=lambda data: repr(data[:16]),
)  # fmt: skip
def test_what_is_no_image_is_refused(client: httpx.Client, data: bytes) -> None:
    for path in ("/api/recognize", "/api/images"):
        error = refused(client.post(path, files=[part(data)]), 400)
        assert error["code"] == "image_unreadable"
        assert "JPEG" in error["remedy"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_image_is_refused_and_nothing_of_it_is_stored(
    client: httpx.Client, format: str
) -> None:
    whole = encoded(photo(size=(200, 150)), format)
    before = client.get("/api/images").json()["total"]
    for share in (0.02, 0.3, 0.6, 0.9):
        refused_everywhere(client, whole[: int(len(whole) * share)], 400, code="image_unreadable")
    assert client.get("/api/images").json()["total"] == before


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_an_animation_is_seen_as_its_first_frame(client: httpx.Client, format: str) -> None:
    first, rest = photo(size=(120, 90)), [photo(size=(120, 90)) for _ in range(5)]
    options = {"lossless": True} if format == "WEBP" else {}
    still = encoded(first, format, **options)
    moving = encoded(
        first, format, save_all=True, append_images=rest, duration=40, loop=0, **options
    )
    assert cosine(vector(client, moving), vector(client, still)) > 0.98
    stored = store(client, moving)
    assert stored["media_type"] == f"image/{format.lower()}"
    assert (stored["width"], stored["height"]) == (120, 90)


def test_every_mode_of_pixels_is_read_as_the_colours_it_shows(client: httpx.Client) -> None:
    image = photo(size=(128, 96))
    grey = image.convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    plain, plain_grey = vector(client, encoded(image, "PNG")), vector(client, encoded(grey, "PNG"))
    assert cosine(vector(client, encoded(image.convert("CMYK"), "JPEG", quality=95)), plain) > 0.8
    assert cosine(vector(client, encoded(wide, "PNG")), plain_grey) > 0.999
    assert cosine(vector(client, encoded(image.convert("RGBA"), "PNG")), plain) > 0.999
    assert cosine(vector(client, encoded(grey.convert("LA"), "PNG")), plain_grey) > 0.999
    palette = image.quantize(256)
    shown = vector(client, encoded(palette.convert("RGB"), "PNG"))
    assert cosine(vector(client, encoded(palette, "PNG")), shown) > 0.999
    bits = grey.convert("1")
    assert (
        cosine(vector(client, encoded(bits, "PNG")), vector(client, encoded(bits, "TIFF"))) > 0.99
    )


def test_transparency_is_seen_on_white_whatever_lies_under_it(client: httpx.Client) -> None:
    image = photo(size=(128, 128)).convert("RGBA")
    image.paste((255, 0, 0, 0), (0, 0, 128, 64))
    white = Image.new("RGBA", image.size, "white")
    seen = vector(client, encoded(Image.alpha_composite(white, image).convert("RGB"), "PNG"))
    assert cosine(vector(client, encoded(image, "PNG")), seen) > 0.98
    palette = image.convert("RGB").quantize(255)
    palette.paste(255, (0, 0, 128, 64))
    transparent = encoded(palette, "PNG", transparency=255)
    colours = Image.open(io.BytesIO(transparent)).convert("RGBA")
    seen = vector(client, encoded(Image.alpha_composite(white, colours).convert("RGB"), "PNG"))
    assert cosine(vector(client, transparent), seen) > 0.98


ROTATED = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_the_eight_orientations_of_a_photo_look_like_the_upright_one(
    client: httpx.Client, format: str
) -> None:
    upright = photo(size=(320, 240))
    lossless = {"quality": 95} if format == "JPEG" else {"lossless": True}
    expected = client.post("/api/recognize", content=encoded(upright, format, **lossless)).json()
    for orientation, turn in ROTATED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = upright if turn is None else upright.transpose(turn)
        data = encoded(turned, format, exif=exif, **lossless)
        found = client.post("/api/recognize", content=data).json()
        near = cosine(np.array(found["feature_vector"]), np.array(expected["feature_vector"]))
        assert near > 0.98, (orientation, near)
        assert found["labels"][0]["label"] == expected["labels"][0]["label"] or near > 0.995
        stored = store(client, data)
        assert (stored["width"], stored["height"]) == (320, 240)
        thumbnail = client.get(f"/api/images/{stored['id']}/thumbnail").content
        assert Image.open(io.BytesIO(thumbnail)).size == (256, 192)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_the_smallest_images_are_recognised_and_stored(
    client: httpx.Client, size: tuple[int, int]
) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        colour = tuple(random.randrange(256) for _ in range(3))
        data = encoded(Image.new("RGB", size, colour), kind)
        assert np.linalg.norm(vector(client, data)) == pytest.approx(1, abs=1e-3)
        answer = client.post("/api/images", content=data)
        assert answer.status_code in (200, 201)
        image = answer.json()["images"][0]
        assert (image["width"], image["height"]) == size
        assert client.get(f"/api/images/{image['id']}/thumbnail").status_code == 200


def test_a_bomb_of_pixels_is_refused_before_it_is_decoded(client: httpx.Client, node: Any) -> None:
    bomb = png_bomb()
    before = memory_kb(node.process.pid)
    refused_everywhere(client, bomb, 413, code="payload_too_large")
    assert memory_kb(node.process.pid) - before < 60_000


def test_a_header_that_promises_too_many_pixels_is_refused(client: httpx.Client) -> None:
    whole = bytearray(png())
    whole[16:24] = (0xFFFF).to_bytes(4, "big") * 2
    refused(client.post("/api/recognize", content=bytes(whole)), 400, 413)
    gif = bytearray(encoded(photo(), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    refused(client.post("/api/recognize", content=bytes(gif)), 413)


def test_a_body_over_the_limit_is_refused_and_not_kept(client: httpx.Client, node: Any) -> None:
    before = memory_kb(node.process.pid)
    large = bytes(50 << 20)
    for body in ({"content": large}, {"files": [part(large)]}):
        error = refused(client.post("/api/recognize", **body), 413)
        assert error["code"] == "payload_too_large"
        assert "max_body_bytes" in error["remedy"]
    assert memory_kb(node.process.pid) - before < 150_000


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(
    client: httpx.Client, node: Any
) -> None:
    before = memory_kb(node.process.pid, "VmHWM")
    pieces = (bytes(1 << 20) for _ in range(50))
    # The node may answer and close while we are still sending: as good.
    with suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        refused(client.post("/api/images", content=pieces), 413)
    assert memory_kb(node.process.pid, "VmHWM") - before < 200_000
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/html", "application/pdf", "image/gif", "application/octet-stream", "", "x/y/z"]
)
def test_the_bytes_decide_what_an_image_is(client: httpx.Client, kind: str) -> None:
    stored = client.post("/api/images", files=[part(png(), "page.html", kind)])
    assert stored.json()["images"][0]["media_type"] == "image/png"
    path = f"/api/images/{stored.json()['images'][0]['id']}/file"
    assert client.get(path).headers["content-type"] == "image/png"


def form(*parts: bytes, end: bool = True) -> bytes:
    body = b"".join(b"--" + BOUNDARY.encode() + b"\r\n" + p + b"\r\n" for p in parts)
    return body + (b"--" + BOUNDARY.encode() + b"--\r\n" if end else b"")


def file_part(data: bytes, disposition: str = 'form-data; name="file"; filename="a.jpg"') -> bytes:
    return b"Content-Disposition: " + disposition.encode() + b"\r\n\r\n" + data


IMAGE = jpeg(seed=7)
BROKEN_FORMS: dict[str, tuple[str, bytes]] = {
    "no boundary": ("multipart/form-data", form(file_part(IMAGE))),
    "empty boundary": ("multipart/form-data; boundary=", form(file_part(IMAGE))),
    "other boundary": ("multipart/form-data; boundary=other", form(file_part(IMAGE))),
    "boundary not ascii": ("multipart/form-data; boundary=\xe9", form(file_part(IMAGE))),
    "boundary too long": (f"multipart/form-data; boundary={'b' * 3000}", form(file_part(IMAGE))),
    "no end": (f"multipart/form-data; boundary={BOUNDARY}", form(file_part(IMAGE), end=False)),
    "cut": (f"multipart/form-data; boundary={BOUNDARY}", form(file_part(IMAGE))[:300]),
    "cut in the headers": (f"multipart/form-data; boundary={BOUNDARY}", form(file_part(b""))[:40]),
    "no file": (f"multipart/form-data; boundary={BOUNDARY}", form()),
    "nothing": (f"multipart/form-data; boundary={BOUNDARY}", b""),
    "no filename": (
        f"multipart/form-data; boundary={BOUNDARY}",
        form(file_part(IMAGE, 'form-data; name="file"')),
    ),
    "no name": (f"multipart/form-data; boundary={BOUNDARY}", form(file_part(IMAGE, "form-data"))),
    "no disposition": (f"multipart/form-data; boundary={BOUNDARY}", form(b"X: y\r\n\r\n" + IMAGE)),
    "other field": (
        f"multipart/form-data; boundary={BOUNDARY}",
        form(file_part(IMAGE, 'form-data; name="photo"; filename="a.jpg"')),
    ),
    "name not unicode": (
        f"multipart/form-data; boundary={BOUNDARY}",
        form(b'Content-Disposition: form-data; name="\xff\xfe"\r\n\r\nx', file_part(IMAGE)),
    ),
    "value not unicode": (
        f"multipart/form-data; boundary={BOUNDARY}",
        form(b'Content-Disposition: form-data; name="tags"\r\n\r\n\xff\xfe\xed\xa0\x80'),
    ),
    "thousands of fields": (
        f"multipart/form-data; boundary={BOUNDARY}",
        form(*(b'Content-Disposition: form-data; name="f%d"\r\n\r\nx' % i for i in range(3000))),
    ),
    "empty file": (f"multipart/form-data; boundary={BOUNDARY}", form(file_part(b""))),
    "not a form": (f"multipart/form-data; boundary={BOUNDARY}", IMAGE),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_FORMS)
@pytest.mark.parametrize("path", ["/api/recognize", "/api/images", "/api/images/search"])
def test_a_broken_form_is_refused(client: httpx.Client, path: str, case: str) -> None:
    kind, body = BROKEN_FORMS[case]
    headers = [(b"content-type", kind.encode("latin-1"))]
    refused(client.post(path, content=body, headers=headers), 400)


@pytest.mark.parametrize("path", ["/api/recognize", "/api/images", "/api/images/search"])
def test_an_empty_body_is_refused(client: httpx.Client, path: str) -> None:
    for kind in ("", "image/jpeg", "application/json", "multipart/form-data; boundary=x"):
        refused(client.post(path, content=b"", headers={"content-type": kind}), 400)
    refused(client.post(path), 400)


@pytest.mark.parametrize(
    "body",
    [
        b'{"image": "@@@@"}', b'{"image": "abc"}', b'{"image": ""}', b'{"image": null}',
        b'{"image": 5}', b'{"image": ["a"]}', b'{"image": "data:image/png;base64,"}', b"{}",
        b'{"image": "data:"}', b'{"image": "\\ud800"}', b'{"image": "\xff"}', b'{"image": "w6k="}',
        b'{"image": "aGVsbG8="}', b'{"img": "aGVsbG8="}', b'{"image": "aGVsbG8=", "x": 1}', b"{",
        b'{"image": "aGVs\\nbG8="}', b'{"image": "aGVsbG8"}', b'{"image": "\\u00e9\\u00e9"}',
    ],
    ids=repr,
)  # fmt: skip
def test_bad_base64_is_refused(client: httpx.Client, body: bytes) -> None:
    kind = {"content-type": "application/json"}
    refused(client.post("/api/recognize", content=body, headers=kind), 400)


DEEP = 100_000
JSON_PATHS = [
    ("POST", "/api/images/search"), ("PATCH", "/api/images/1"), ("POST", "/api/session"),
    ("POST", "/api/keys"), ("PUT", "/api/models/default"), ("POST", "/api/recognize"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), JSON_PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP, b'{"a":' * DEEP, b'{"id":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"filter":' * DEEP + b"1" + b"}" * DEEP, b'{"id": NaN}', b'{"id": Infinity}',
        b'{"id": 1e999}', b'{"id": -1e999}', b'{"id": ' + b"9" * 5000 + b"}", b'{"id": 01}',
        b'{"id": "\\ud800"}', b'{"\\ud800": 1}', b'{"id": "\xed\xa0\x80"}', b'\xff\xfe{"id":1}',
        b'\xef\xbb\xbf{"id": 1}', b'{"id": 1,}', b"{'id': 1}", b'{"id": "\x00"}', b"\x00", b'"x"',
        b"1", b"null", b"true", b'{"id": 1, "id": ',
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_hostile_json_is_refused(client: httpx.Client, method: str, path: str, body: bytes) -> None:
    kind = {"content-type": "application/json"}
    refused(client.request(method, path, content=body, headers=kind), 400, 401, 404)


@pytest.mark.parametrize("field", ["filename", "uploaded_by"])
def test_lone_surrogates_are_refused_or_replaced_in_json(client: httpx.Client, field: str) -> None:
    path = f"/api/images/{store(client)['id']}"
    body = b'{"%s": "\\ud800"}' % field.encode()
    refused(client.patch(path, content=body), 400)
    for body in (b'{"tags": {"\\udfff": "x"}}', b'{"tags": {"x": "a\\ud83d"}}'):
        refused(client.patch(path, content=body), 400)
    whole = client.patch(path, content=b'{"%s": "\\ud83d\\ude00"}' % field.encode())
    assert whole.json()[field] == "\N{GRINNING FACE}"


ODD_HEADERS = (
    b"authorization", b"x-api-key", b"cookie", b"x-request-id", b"idempotency-key",
    b"if-none-match", b"range", b"origin", b"accept", b"content-encoding",
)  # fmt: skip


def test_bytes_that_are_not_unicode_do_no_harm_in_queries_forms_and_headers(
    client: httpx.Client,
) -> None:
    for query in ("uploaded_by=%ED%A0%80", "uploaded_by=%ff", "tag.%ff=1", "%ED%A0%80=1"):
        refused(client.get(f"/api/images?{query}"), 400)
    refused(client.post("/api/images?filename=%ff", content=jpeg()), 400)
    odd = b'form-data; name="file"; filename="a\xff\xed\xa0\x80.jpg"'
    body = form(b"Content-Disposition: " + odd + b"\r\n\r\n" + jpeg())
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    stored = client.post("/api/images", content=body, headers={"content-type": kind})
    assert stored.status_code in (201, 400)
    for name in ODD_HEADERS:
        answer = client.get("/api/images?limit=1", headers=[(name, b"\xff\xed\xa0\x80")])
        assert answer.status_code in (200, 400, 401, 403), (name, answer.text)
        upload = client.post("/api/images", content=jpeg(), headers=[(name, b"\xff\xfe\xed")])
        assert upload.status_code in (201, 400, 401, 403), (name, upload.text)


@pytest.mark.parametrize(
    "name",
    ["кот.jpg", "猫 🐈.jpg", "a\u202egpj.exe", "../../etc/passwd", "C:\\x\\y.jpg", "a" * 1024,
     'quo"te.jpg', "per%20cent.jpg", "", "new\nline.jpg", "nul\0.jpg", "<script>.jpg"],
)  # fmt: skip
def test_any_filename_is_kept_as_text_and_never_used_as_a_path(
    client: httpx.Client, name: str
) -> None:
    data = jpeg()
    answer = client.post("/api/images", params={"filename": name}, content=data)
    assert answer.status_code in (201, 400), answer.text
    if answer.status_code == 201:
        image = answer.json()["images"][0]
        assert image["filename"] == name
        assert client.get(f"/api/images/{image['id']}").json()["filename"] == name
        assert client.get(f"/api/images/{image['id']}/file").content == data


def test_filenames_of_forms_may_be_written_in_any_script(client: httpx.Client) -> None:
    for name in ("кот.jpg", "猫 🐈.jpg", "naïve.jpg"):
        (image,) = client.post("/api/images", files=[part(jpeg(), name)]).json()["images"]
        assert image["filename"] == name


@pytest.mark.parametrize(
    "reference",
    ["0", "-1", "999999999", "9223372036854775807", "9223372036854775808", "9" * 100, "9" * 5000,
     "1.5", "nan", "x", "٣٣٣٣٣", "²", "%00", "%ff", "f" * 64, "F" * 64, "0x10", "1e3", "1%20",
     "null", "..", "%2e%2e%2f", "1;drop table images", "' or 1=1 --"],
)  # fmt: skip
def test_an_unknown_id_is_not_found(client: httpx.Client, reference: str) -> None:
    path = f"/api/images/{reference}"
    for answer in (
        client.get(path), client.delete(path), client.patch(path, json={}),
        client.get(f"{path}/file"), client.get(f"{path}/thumbnail"), client.head(path),
    ):  # fmt: skip
        if answer.request.method == "HEAD":
            assert answer.status_code in (400, 404)
        else:
            refused(answer, 400, 404, 405)


@pytest.mark.parametrize("id", [0, -1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, "x", "", "9" * 5000])
def test_a_search_like_an_unknown_image_is_not_found(client: httpx.Client, id: Any) -> None:
    refused(client.post("/api/images/search", json={"id": id}), 400, 404)


@pytest.mark.parametrize(
    "wanted",
    [
        {"created_at": {"gte": 10**30}}, {"created_at": {"gte": -(10**30)}},
        {"created_at": {"gte": "--5"}}, {"created_at": {"gte": "9999-12-31T23:59:59-23:59"}},
        {"created_at": {"gte": "0001-01-01T00:00:00+23:59"}}, {"tags": {"a": 10**30}},
        {"created_at": {"gte": "9" * 15}},
        {"tags": {"a": 1e308}}, {"tags": {"": "x"}}, {"tags": {"a.b[0]": "x"}}, {"label": "\x00"},
        {"uploaded_by": "x" * 100_000}, {"tags": {str(i): i for i in range(5000)}},
    ],
    ids=lambda wanted: repr(wanted)[:40],
)  # fmt: skip
def test_odd_filters_are_answered_or_refused(client: httpx.Client, wanted: Any) -> None:
    image = store(client)
    answer = client.post("/api/images/search", json={"id": image["id"], "filter": wanted})
    if answer.status_code != 200:
        refused(answer, 400)
    for name, value in wanted.get("created_at", {}).items():
        listed = client.get("/api/images", params={"created_after": str(value)})
        assert listed.status_code in (200, 400), (name, value, listed.text)


def test_a_key_cannot_expire_at_an_impossible_time(client: httpx.Client) -> None:
    for moment in (10**30, -1, 0, "never", "--5", 2**63, "9999-12-31T23:59:59-23:59", 1.5, 10**15):
        body = {"name": unique(), "scope": "read", "expires_at": moment}
        refused(client.post("/api/keys", json=body), 400)
    assert client.get("/api/session").json()["open"]


def raw(node: Any, request: bytes, *, timeout_s: float = 5.0) -> bytes:
    """Send bytes as they are and read until the node closes."""
    address = urlsplit(node.url)
    with socket.create_connection((address.hostname, address.port), timeout=timeout_s) as wire:
        wire.sendall(request)
        wire.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := wire.recv(65536):
            received += chunk
        return received


HOST = b"Host: localhost\r\n"
WIRE = {
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello\r\n\r\n",
    "http/0.9": b"GET /healthz\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "foreign host": b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "negative length": b"POST /api/recognize HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n",
    "two lengths": b"POST /api/recognize HTTP/1.1\r\n"
    + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunks": b"POST /api/recognize HTTP/1.1\r\n"
    + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST /api/recognize HTTP/1.1\r\n"
    + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "spaces in a name": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X Y: z\r\n\r\n",
    "nul in a header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "long url": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "large header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 20_000 + b"\r\n",
    "absolute url": b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad method": b"G\xffT /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "body is shorter": b"POST /api/recognize HTTP/1.1\r\n" 
    + HOST + b"Content-Length: 999\r\n\r\nab",
    "trace": b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
    "connect": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "upgrade": b"GET /healthz HTTP/1.1\r\n"
    + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("case", WIRE)
def test_garbage_on_the_wire_gets_a_refusal_or_a_closed_connection(node: Any, case: str) -> None:
    began = time.monotonic()
    try:
        received = raw(node, WIRE[case])
    except ConnectionError:
        received = b""
    assert time.monotonic() - began < SOON_S
    if received:
        status = int(received.split(b" ", 2)[1])
        assert status < 500, received[:300]
    if case in ("foreign host", "no host"):
        assert received.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))
    with node.client() as client:
        assert client.get("/healthz").status_code == 200


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(node: Any) -> None:
    address = urlsplit(node.url)
    head = b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    with node.client() as client:
        before = client.get("/api/images").json()["total"]
        for _ in range(20):
            with socket.create_connection((address.hostname, address.port)) as wire:
                wire.sendall(head + jpeg())
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/images").json()["total"] == before


def test_memory_stays_bounded_under_large_and_bad_images(client: httpx.Client, node: Any) -> None:
    large = encoded(photo(size=(3000, 2000)), "JPEG", quality=80)
    worst = [large[: len(large) // 2], bytes(8 << 20), json.dumps({"image": "A" * 8_000_000})]
    for _ in range(2):
        for data in worst:
            client.post("/api/recognize", content=data)
    before = memory_kb(node.process.pid)
    for _ in range(10):
        for data in worst:
            client.post("/api/recognize", content=data)
    # Eight megabytes a request: what is kept of a single one shows.
    assert memory_kb(node.process.pid) - before < 30_000

"""`/console`: the page, its scripts and styles, from the package's own files."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from importlib.resources import files

from skerry.api.contract import Answer, Exchange, Route
from skerry.errors import NotFound

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


async def page(exchange: Exchange) -> Answer:
    """The console's one page."""
    return _serve(exchange, "index.html")


async def asset(exchange: Exchange) -> Answer:
    """A script, style or picture of the page."""
    return _serve(exchange, exchange.path["name"])


async def root(_: Exchange) -> Answer:
    """Whoever types the node's address wants the console."""
    return Answer(307, headers={"location": "/console"})


@cache
def static_files() -> dict[str, tuple[bytes, str, str]]:
    """name -> (bytes, media type, ETag) of every file of the console."""
    found = {}
    pending = [("", files("skerry.api.console") / "static")]
    while pending:
        prefix, folder = pending.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                pending.append((f"{prefix}{entry.name}/", entry))
                continue
            data = entry.read_bytes()
            suffix = "." + entry.name.rpartition(".")[2]
            kind = TYPES.get(suffix) or mimetypes.guess_type(entry.name)[0] or "text/plain"
            etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            found[prefix + entry.name] = (data, kind, etag)
    return found


def _serve(exchange: Exchange, name: str) -> Answer:
    try:
        data, kind, etag = static_files()[name]
    except KeyError:
        raise NotFound(f"The console has no file '{name[:80]}'.") from None
    headers = {"etag": etag, "cache-control": "no-cache", "content-security-policy": POLICY}
    if exchange.headers.get(b"if-none-match", b"").decode("latin-1") == etag:
        return Answer(304, headers=headers)
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return Answer(200, data, media_type=kind, headers=headers)


ROUTES = [
    Route("GET", "/", "public", root, "Redirects to the console.", answers={307: None}),
    Route("GET", "/console", "public", page, "The console.", answers={200: "text/html"}),
    Route("GET", "/console/static/{name:path}", "public", asset, "The console's own files.",
          answers={200: "text/javascript", 304: None}, errors=(404,)),
]  # fmt: skip

"""Fetch a file over HTTPS, resuming where an earlier attempt broke off, checked by sha256."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

import httpx

from skerry.errors import ChecksumMismatch, SourceUnreachable
from skerry.models.files import sha256_of
from skerry.models.progress import Progress, ProgressSink

log = logging.getLogger(__name__)

ATTEMPTS = 3
TIMEOUT_S = 30.0
REMEDY = "Check the network and pull again: what has arrived is kept and continued."
SHA256 = re.compile(r"[0-9a-f]{64}")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def fetch_url(url: str, *, into: Path, sha256: str, progress: ProgressSink) -> Path:
    """Fetch `url` to `<into>/<sha256>.part` and return that path once its digest is right.

    A part left by an earlier attempt is continued by Range. Raises SourceUnreachable, or
    ChecksumMismatch after deleting what arrived.
    """
    part = into / f"{sha256}.part"
    _fetch(url, part, tag=None, progress=progress)
    progress(Progress("check"))
    check_sha256(part, sha256, what=url)
    return part


def fetch_unlisted(url: str, *, into: Path, progress: ProgressSink, token: str = "") -> Path:
    """Fetch a `url` whose digest is known to nobody before; its path in `into`.

    What broke off is continued only while the server vouches, by its ETag, for the same file.
    A digest that a hub announces is checked; `token` is shown to the host of `url` alone.
    Raises SourceUnreachable, ChecksumMismatch.
    """
    _require_https(httpx.URL(url))
    stem = hashlib.sha256(url.encode()).hexdigest()[:32]
    part, tag = into / f"{stem}.part", into / f"{stem}.etag"
    if not tag.exists():
        part.unlink(missing_ok=True)
    announced = _fetch(url, part, tag=tag, progress=progress, token=token)
    progress(Progress("check"))
    tag.unlink(missing_ok=True)
    if announced:
        check_sha256(part, announced, what=url)
    return part


def _fetch(
    url: str, part: Path, *, tag: Path | None, progress: ProgressSink, token: str = ""
) -> str:
    """Fetch into `part` in a few attempts; the digest the server announced, or nothing."""
    for attempt in range(1, ATTEMPTS + 1):
        progress(Progress("fetch"))
        try:
            return _continue(url, part, tag=tag, progress=progress, token=token)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            if attempt == ATTEMPTS:
                raise SourceUnreachable(f"Cannot fetch {url}: {reason}", remedy=REMEDY) from error
            log.warning("Fetching %s broke off (%s); continuing.", url, reason)
    raise AssertionError("the last attempt returns or raises")


def check_sha256(path: Path, expected: str, *, what: str) -> None:
    """Raise ChecksumMismatch and delete the file when its bytes are not those expected."""
    found = sha256_of(path)
    if found != expected:
        path.unlink()
        raise ChecksumMismatch(f"{what} has sha256 {found}, not {expected} as the catalogue says.")


def _continue(url: str, part: Path, *, tag: Path | None, progress: ProgressSink, token: str) -> str:
    have = part.stat().st_size if part.exists() else 0
    # A compressed answer could not be continued at a byte of the file.
    headers = {"accept-encoding": "identity"}
    if token:
        headers["authorization"] = f"Bearer {token}"  # httpx drops it when led to another host
    if have and tag is not None and not tag.exists():
        have = 0
    if have:
        headers["range"] = f"bytes={have}-"
        if tag is not None:
            headers["if-range"] = tag.read_text()
    client = httpx.Client(follow_redirects=True, timeout=TIMEOUT_S)
    with client, client.stream("GET", url, headers=headers) as response:
        _require_https(response.url)
        announced = _announced(response)
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return announced  # nothing is left to fetch; the digest decides
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SourceUnreachable(
                f"{url} answered {response.status_code}: it is not for everybody.",
                remedy="Accept the model's terms on its page, and set HF_TOKEN to your token.",
            )
        if not response.is_success:
            raise SourceUnreachable(f"{url} answered {response.status_code}.", remedy=REMEDY)
        if tag is not None:
            _keep_tag(response, tag)
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        _store(response, part, have=have if resumed else 0, progress=progress)
        return announced


def _keep_tag(response: httpx.Response, tag: Path) -> None:
    etag = response.headers.get("etag", "")
    if etag and not etag.startswith("W/"):  # a weak one vouches for no bytes
        tag.write_text(etag)
    else:
        tag.unlink(missing_ok=True)


def _announced(response: httpx.Response) -> str:
    """The sha256 that a Hugging Face hub gives with its redirect to a large file."""
    for answer in (*response.history, response):
        digest = str(answer.headers.get("x-linked-etag", "")).strip('"')
        if SHA256.fullmatch(digest):
            return digest
    return ""


def _store(response: httpx.Response, part: Path, *, have: int, progress: ProgressSink) -> None:
    total = have + int(response.headers.get("content-length", 0))
    with part.open("ab" if have else "wb") as file:
        for chunk in response.iter_raw():
            file.write(chunk)
            have += len(chunk)
            progress(Progress("fetch", done_bytes=have, total_bytes=total))


def _require_https(url: httpx.URL) -> None:
    if url.scheme != "https" and url.host not in LOOPBACK:
        raise SourceUnreachable(f"{url} is not HTTPS.", remedy="Use an https:// address.")

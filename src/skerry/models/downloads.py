"""Fetch a file over HTTPS, resuming where an earlier attempt broke off, checked by sha256."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx

from skerry.errors import ChecksumMismatch, SourceUnreachable
from skerry.models.files import sha256_of
from skerry.models.progress import Progress, ProgressSink

log = logging.getLogger(__name__)

ATTEMPTS = 3
TIMEOUT_S = 30.0
REMEDY = "Check the network and pull again: what has arrived is kept and continued."
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def fetch_url(url: str, *, into: Path, sha256: str, progress: ProgressSink) -> Path:
    """Fetch `url` to `<into>/<sha256>.part` and return that path once its digest is right.

    A part left by an earlier attempt is continued by Range. Raises SourceUnreachable, or
    ChecksumMismatch after deleting what arrived.
    """
    part = into / f"{sha256}.part"
    for attempt in range(1, ATTEMPTS + 1):
        progress(Progress("fetch"))
        try:
            _continue(url, part, progress=progress)
            break
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            if attempt == ATTEMPTS:
                raise SourceUnreachable(f"Cannot fetch {url}: {reason}", remedy=REMEDY) from error
            log.warning("Fetching %s broke off (%s); continuing.", url, reason)
    progress(Progress("check"))
    check_sha256(part, sha256, what=url)
    return part


def check_sha256(path: Path, expected: str, *, what: str) -> None:
    """Raise ChecksumMismatch and delete the file when its bytes are not those expected."""
    found = sha256_of(path)
    if found != expected:
        path.unlink()
        raise ChecksumMismatch(f"{what} has sha256 {found}, not {expected} as the catalogue says.")


def _continue(url: str, part: Path, *, progress: ProgressSink) -> None:
    have = part.stat().st_size if part.exists() else 0
    # A compressed answer could not be continued at a byte of the file.
    headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have else {})
    client = httpx.Client(follow_redirects=True, timeout=TIMEOUT_S)
    with client, client.stream("GET", url, headers=headers) as response:
        _require_https(response.url)
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is left to fetch; the digest decides
        if not response.is_success:
            raise SourceUnreachable(f"{url} answered {response.status_code}.", remedy=REMEDY)
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        _store(response, part, have=have if resumed else 0, progress=progress)


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

"""What a user names a model file by: a path, an address, or a file on a Hugging Face hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from skerry.errors import BadRequest
from skerry.models.manifest import Source

HUB_PREFIX = "hf:"
HUB_FILE = re.compile(
    r"hf:(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)/(?P<file>[^@?#]+)(@(?P<revision>[\w./-]+))?"
)
MAIN = "main"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to be fetched; `token` opens what a hub gives only to those who accepted its terms."""

    url: str
    source: Source
    token: str = field(default="", repr=False)

    @property
    def file_name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name


def remote_file(reference: str, *, hub: str, token: str = "") -> Remote | None:
    """The file behind `https://…` or `hf:OWNER/NAME/FILE[@REVISION]`; None for a path.

    `token` is for the hub alone. BadRequest for a reference to a hub that names no file.
    """
    if reference.startswith(("https://", "http://")):
        return Remote(reference, Source(kind="url", location=reference))
    if not reference.startswith(HUB_PREFIX):
        return None
    match = HUB_FILE.fullmatch(reference)
    if match is None or ".." in match["file"].split("/"):
        raise BadRequest(
            f"'{reference}' names no file on the hub.",
            remedy="Write hf:OWNER/NAME/FILE.gguf, with @REVISION behind it if it is not 'main'.",
        )
    revision = match["revision"] or MAIN
    repository = f"{match['owner']}/{match['name']}"
    url = (
        f"{hub.rstrip('/')}/{repository}/resolve/{quote(revision, safe='')}/{quote(match['file'])}"
    )
    member = f"{match['file']}@{revision}"
    source = Source(kind="huggingface", location=repository, member=member)
    return Remote(url, source, token)

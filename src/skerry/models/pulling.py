"""Build the folder of a model of the catalogue from what its source gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

from skerry.models.catalogue import (
    CatalogueEntry,
    ChatEntry,
    EncoderEntry,
    ImageEntry,
    SentimentEntry,
)
from skerry.models.chat import build_chat
from skerry.models.conversion import Origin, read_pulled, write_model
from skerry.models.encoders import Wanted, read_folder, write_encoder
from skerry.models.manifest import AnyManifest
from skerry.models.progress import Progress, ProgressSink
from skerry.models.sentiment import fetched_base, installed_base, write_sentiment
from skerry.models.sources import fetch_folder, fetch_weights


def build_pulled(
    entry: CatalogueEntry, folder: Path, *, downloads: Path, progress: ProgressSink
) -> AnyManifest:
    """Fetch, check and convert `entry` into `folder`; the one place that knows each task's way.

    Raises SourceUnreachable, ChecksumMismatch, ModelInvalid.
    """
    match entry:
        case ImageEntry():
            return _build_image(entry, folder, downloads=downloads, progress=progress)
        case EncoderEntry():
            return _build_encoder(entry, folder, downloads=downloads, progress=progress)
        case SentimentEntry():
            return _build_sentiment(entry, folder, downloads=downloads, progress=progress)
        case ChatEntry():
            return build_chat(entry, folder, downloads=downloads, progress=progress)


def _build_image(
    entry: ImageEntry, folder: Path, *, downloads: Path, progress: ProgressSink
) -> AnyManifest:
    fetched = fetch_weights(entry.source, into=folder, downloads=downloads, progress=progress)
    progress(Progress("convert"))
    graph, description = read_pulled(entry, fetched)
    fetched.unlink()
    progress(Progress("install"))
    return write_model(graph, description, folder)


def _build_encoder(
    entry: EncoderEntry, folder: Path, *, downloads: Path, progress: ProgressSink
) -> AnyManifest:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetched-") as name:
        fetched = Path(name)
        fetch_folder(
            entry.source, entry.companions, into=fetched, downloads=downloads, progress=progress
        )
        progress(Progress("convert"))
        wanted = Wanted(
            task="text-embedding",
            pooling=entry.pooling,
            prefixes=entry.prefixes,
            max_tokens=entry.max_tokens,
        )
        parts = read_folder(fetched, wanted, scratch=folder)
        progress(Progress("install"))
        origin = Origin(entry.name, entry.source, entry.license, entry.card)
        return write_encoder(parts, origin, folder)


def _build_sentiment(
    entry: SentimentEntry, folder: Path, *, downloads: Path, progress: ProgressSink
) -> AnyManifest:
    origin = Origin(entry.name, entry.source, entry.license, entry.card)
    # `folder` is built beside the models that are installed.
    base = installed_base(folder.parent, name=entry.base, source=entry.source)
    if base is not None:
        progress(Progress("convert"))
        return write_sentiment(
            base, origin, folder, max_tokens=entry.max_tokens, recipe=entry.recipe
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetched-") as name:
        fetched = Path(name)
        fetch_folder(
            entry.source, entry.companions, into=fetched, downloads=downloads, progress=progress
        )
        progress(Progress("convert"))
        base = fetched_base(fetched, scratch=folder)
        return write_sentiment(
            base, origin, folder, max_tokens=entry.max_tokens, recipe=entry.recipe
        )

"""Pull a model and make it ready to serve: its INT8 variant, its best precision on this CPU."""

from __future__ import annotations

from skerry.models.manifest import InstalledModel
from skerry.models.progress import ProgressSink, ignore_progress
from skerry.models.store import ModelStore

DEFAULT_IMAGE_MODEL = "efficientnet-lite2"


def pull_model(
    store: ModelStore, name: str, *, progress: ProgressSink = ignore_progress
) -> InstalledModel:
    """The model, fetched when it is absent; blocks.

    Raises ModelNotFound, SourceUnreachable, ChecksumMismatch, StorageFull.
    """
    return store.pull(name, progress=progress)

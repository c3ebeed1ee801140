"""Pull a model and make it ready to serve: its INT8 variant, its best precision on this CPU."""

from __future__ import annotations

import logging

from skerry.config import ModelSettings
from skerry.errors import SkerryError
from skerry.inference.loading import choose
from skerry.inference.quantize import apply_ranges
from skerry.models.manifest import AnyModel, ImageManifest, ImageModel, of_task
from skerry.models.progress import ProgressSink, ignore_progress
from skerry.models.store import ModelStore

log = logging.getLogger(__name__)


def pull_model(
    store: ModelStore,
    name: str,
    *,
    settings: ModelSettings,
    progress: ProgressSink = ignore_progress,
) -> AnyModel:
    """The model, fetched when it is absent, with what `precision = "auto"` chooses from.

    Blocks. Raises ModelNotFound, SourceUnreachable, ChecksumMismatch, StorageFull.
    """
    model = store.pull(name, progress=progress)
    if isinstance(model.manifest, ImageManifest):
        return prepare(store, of_task(model, ImageManifest), settings=settings)
    return model


def prepare(store: ModelStore, model: ImageModel, *, settings: ModelSettings) -> ImageModel:
    """Give a model its shipped INT8 variant, and measure its precisions on this CPU, once each.

    A model serves in fp32 where this fails, and the log says why.
    """
    name = model.manifest.name
    try:
        if model.manifest.variant("int8") is None:
            model = apply_ranges(store, name) or model
        choice = choose(model, settings=settings)
        log.info("'%s' runs in %s here: %s", name, choice.precision, choice.reason)
    except SkerryError as error:
        log.warning("'%s' serves in fp32 only: %s", name, error.message)
    return model

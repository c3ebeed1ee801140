"""Wire the flows over images: models, recognition, the stored images and their search."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from skerry.backends import open_backend
from skerry.index.images import IMAGE_FIELDS
from skerry.index.switch import IndexSwitch
from skerry.index.view import Index
from skerry.kv.base import KeyValueStore
from skerry.models.catalogue import DEFAULT_IMAGE_MODEL
from skerry.node.ground import Ground
from skerry.pipelines.images.feed import ImageIndexFeed
from skerry.pipelines.images.library import ImageLibrary
from skerry.pipelines.images.loading import ImageLoader
from skerry.pipelines.images.recognize import Recognizer
from skerry.pipelines.images.reindex import Reindexer
from skerry.pipelines.images.search import ImageSearch
from skerry.pipelines.images.served import ServedModels
from skerry.pipelines.images.similar import SimilarImages
from skerry.sql.images import ImageTable
from skerry.sql.spaces import Space, SpaceTable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Images:
    """The image side of a node."""

    models: ServedModels
    index: IndexSwitch
    library: ImageLibrary
    recognizer: Recognizer
    search: ImageSearch
    reindexer: Reindexer


def wire_images(ground: Ground) -> Images:
    """Make the image side; its models and its index are brought up by the reindexer's start."""
    settings, stores, stack = ground.settings, ground.stores, ground.stack
    table, spaces = ImageTable(stores.db), SpaceTable(stores.db)
    models = _serve_models(ground, spaces)
    index = IndexSwitch()
    stack.push_async_callback(index.close)
    similar = SimilarImages(models, index, table.summaries)
    library = ImageLibrary(
        stores.db, table, stores.blobs, models, index, max_pixels=settings.limits.max_pixels
    )
    reindexer = Reindexer(
        stores.db, spaces, library, models, index, stores.jobs,
        make_index=lambda space: _make_index(ground, space), wanted=settings.models.image,
    )  # fmt: skip
    stack.push_async_callback(reindexer.close)
    return Images(
        models, index, library, Recognizer(similar), ImageSearch(library, similar), reindexer
    )


def _serve_models(ground: Ground, spaces: SpaceTable) -> ServedModels:
    settings = ground.settings
    loader = ImageLoader(
        ground.fetcher, settings, cache=_open_cache(ground), metrics=ground.metrics
    )
    active = spaces.active()
    models = ServedModels(
        loader,
        default=active.model if active else settings.models.image or DEFAULT_IMAGE_MODEL,
        budget=ground.budget,
    )
    ground.stack.push_async_callback(models.close)
    return models


def _make_index(ground: Ground, space: Space) -> Index:
    feed = ImageIndexFeed(ground.stores.db, space=space.name)
    return ground.make_index("images", IMAGE_FIELDS, space, feed)


def _open_cache(ground: Ground) -> KeyValueStore | None:
    cache = ground.settings.cache
    if cache.type == "off":
        log.info("Feature cache is off: every image is computed")
        return None
    options = {"type": cache.type, "max_bytes": cache.max_bytes}
    if cache.type == "redis":
        options = {"type": "redis", "url": cache.url}
    folder = ground.settings.data_folder / "cache"
    opened: KeyValueStore = open_backend("kv", options, folder=folder)
    ground.stack.push_async_callback(opened.close)
    return opened

"""Wire the models that read and write text."""

from __future__ import annotations

from skerry.node.ground import Ground
from skerry.pipelines.texts.loading import LocalTextLoader
from skerry.pipelines.texts.models import Defaults, TextModels


def wire_texts(ground: Ground) -> TextModels:
    """Make the text models; each loads at its first use, or when they are started."""
    models = ground.settings.models
    loader = LocalTextLoader(
        ground.fetcher, ground.settings, threads=ground.threads, metrics=ground.metrics
    )
    texts = TextModels(
        loader,
        defaults=Defaults(models.embedding, models.classifier, models.chat),
        budget=ground.budget,
    )
    ground.stack.push_async_callback(texts.close)
    return texts

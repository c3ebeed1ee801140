"""Recognise an image: what it is, which stored images are most like it, how it may be tagged."""

from __future__ import annotations

import msgspec

from skerry.inference.base import EngineInfo
from skerry.inference.features import Features
from skerry.models.manifest import ImageManifest
from skerry.pipelines.images.features import CacheResult
from skerry.pipelines.images.similar import SimilarImage, SimilarImages
from skerry.pipelines.images.tags import NEIGHBOURS, Neighbour, SuggestedTag, suggest_tags
from skerry.pipelines.stages import Stages
from skerry.sql.images import Label


class Recognition(msgspec.Struct, frozen=True):
    """What `recognize` found; `features.embedding` is the feature vector."""

    labels: list[Label]
    similar: list[SimilarImage]
    suggested_tags: list[SuggestedTag]
    features: Features
    cache: CacheResult
    model: EngineInfo


class Recognizer:
    """The flow of `POST /api/recognize`; it stores nothing but the cached features."""

    def __init__(self, similar: SimilarImages) -> None:
        self._similar = similar

    async def recognize(
        self,
        image: bytes,
        *,
        limit: int,
        labels: int,
        deadline: float,
        stages: Stages,
        model: str | None = None,
    ) -> Recognition:
        """Labels and the `limit` most similar stored images.

        `limit=0` makes no search and suggests no tags. Raises what `SimilarImages.of_photo` does.
        """
        found = await self._similar.of_photo(
            image,
            limit=max(limit, NEIGHBOURS) if limit else 0,
            model=model,
            deadline=deadline,
            stages=stages,
        )
        features, extractor = found.extraction.features, found.extractor
        return Recognition(
            labels=top_labels(features, extractor.manifest, count=labels),
            similar=found.similar[:limit],
            suggested_tags=suggest_tags(Neighbour(n.score, n.image.tags) for n in found.similar),
            features=features,
            cache=found.extraction.cache,
            model=extractor.info,
        )


def top_labels(features: Features, manifest: ImageManifest, *, count: int) -> list[Label]:
    """The `count` most probable labels, most probable first."""
    pairs = zip(
        features.indices[:count].tolist(), features.probabilities[:count].tolist(), strict=True
    )
    return [Label(manifest.labels[index], index, round(p, 6)) for index, p in pairs]

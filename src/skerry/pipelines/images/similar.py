"""Find stored images by a vector or a photo: search the index, then read the rows it names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from skerry.errors import SpaceMismatch
from skerry.index.switch import IndexSwitch
from skerry.inference.base import Float32
from skerry.pipelines.images.features import Extraction, FeatureExtractor
from skerry.pipelines.images.served import ServedModels
from skerry.pipelines.stages import Stages
from skerry.sql.images import ImageSummary
from skerry.vectors.base import Filter


class SimilarImage(msgspec.Struct, frozen=True):
    """A stored image and its cosine similarity to what was asked."""

    image: ImageSummary
    score: float


class Likeness(msgspec.Struct, frozen=True):
    """A photo's features, by which model, and the stored images most like it."""

    extractor: FeatureExtractor
    extraction: Extraction
    similar: list[SimilarImage]


class SimilarImages:
    """Nearest stored images; rows are read anew each time, so they are never stale."""

    def __init__(
        self,
        models: ServedModels,
        index: IndexSwitch,
        summaries: Callable[[list[int]], list[ImageSummary]],
    ) -> None:
        self._models = models
        self._index = index
        self._summaries = summaries

    @property
    def space(self) -> str:
        """The space of the vectors that are searched."""
        return self._index.space

    async def of_photo(
        self,
        image: bytes,
        *,
        limit: int,
        deadline: float,
        stages: Stages,
        filter: Filter | None = None,
        model: str | None = None,
    ) -> Likeness:
        """Features of `image` by the default model or `model`, and its like when `limit` > 0.

        Raises what extracting and searching raise, and SpaceMismatch when the stored images are
        not indexed by `model`.
        """
        while True:
            async with self._extractor(model) as extractor:
                if model and limit:
                    self._check_indexed(extractor)
                extraction = await extractor.extract(image, deadline=deadline, stages=stages)
            if not limit:
                return Likeness(extractor, extraction, [])
            try:
                similar = await self.search(
                    extraction.features.embedding,
                    space=extractor.info.space,
                    limit=limit,
                    deadline=deadline,
                    stages=stages,
                    filter=filter,
                )
            except SpaceMismatch:
                # The node was switched to another model meanwhile: once more, with that one.
                if extractor.info.model == self._models.default:
                    raise
                continue
            return Likeness(extractor, extraction, similar)

    async def search(
        self,
        vector: Float32,
        *,
        space: str,
        limit: int,
        deadline: float,
        stages: Stages,
        filter: Filter | None = None,
    ) -> list[SimilarImage]:
        """The images nearest to float32 (d,), nearest first; IndexUnavailable after `deadline`."""
        with stages.measure("search"):
            matches = await self._index.search(
                vector, limit=limit, filter=filter, deadline=deadline, space=space
            )
        with stages.measure("metadata"):
            rows = {row.id: row for row in self._summaries([match.id for match in matches])}
        # A match whose row is gone was deleted a moment ago: it is no longer an answer.
        return [
            SimilarImage(rows[match.id], score=_six_digits(match.score))
            for match in matches
            if match.id in rows
        ]

    def _extractor(self, model: str | None) -> AbstractAsyncContextManager[FeatureExtractor]:
        return self._models.using(model) if model else self._models.serving()

    def _check_indexed(self, extractor: FeatureExtractor) -> None:
        if extractor.info.space != self._index.space:
            raise SpaceMismatch(
                f"The stored images are not indexed by '{extractor.info.model}'.",
                remedy="Send limit=0 for labels alone, or switch with 'skerry models use'.",
            )


def _six_digits(score: float) -> float:
    # As round(score, 6), which goes by way of text and takes thrice as long.
    return round(1e6 * score) / 1e6

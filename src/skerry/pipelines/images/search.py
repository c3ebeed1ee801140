"""Find stored images like a stored or an uploaded one."""

from __future__ import annotations

from skerry.pipelines.images.library import ImageLibrary
from skerry.pipelines.images.similar import SimilarImage, SimilarImages
from skerry.pipelines.stages import Stages
from skerry.vectors.base import Filter


class ImageSearch:
    """The flow of `POST /api/images/search`."""

    def __init__(self, library: ImageLibrary, similar: SimilarImages) -> None:
        self._library = library
        self._similar = similar

    async def by_image(
        self, image: bytes, *, limit: int, filter: Filter | None, deadline: float, stages: Stages
    ) -> list[SimilarImage]:
        """Images like `image`, which is not stored."""
        found = await self._similar.of_photo(
            image, limit=limit, filter=filter, deadline=deadline, stages=stages
        )
        return found.similar

    async def by_reference(
        self, reference: str, *, limit: int, filter: Filter | None, deadline: float, stages: Stages
    ) -> list[SimilarImage]:
        """Images like the stored one, which is not among them; ImageNotFound."""
        row = self._library.get(reference)
        space = self._similar.space
        found = await self._similar.search(
            self._library.vector(row, space=space),
            space=space,
            limit=limit + 1,
            filter=filter,
            deadline=deadline,
            stages=stages,
        )
        return [match for match in found if match.image.id != row.id][:limit]

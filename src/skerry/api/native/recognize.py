"""`POST /api/recognize`."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import UNSET

from skerry.api.bodies import read_image
from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.native.wire import (
    ModelUsed,
    RecognizeAnswer,
    RecognizeQuery,
    SimilarImageJson,
    SuggestedTagJson,
)
from skerry.pipelines.images.recognize import Recognition
from skerry.pipelines.images.similar import SimilarImage


async def recognize(exchange: Exchange) -> Answer:
    """Recognise the image of the body; nothing is stored."""
    exchange.timed = True
    query: RecognizeQuery = exchange.query
    part = await read_image(exchange)
    found = await exchange.node.recognizer.recognize(
        part.data,
        limit=query.limit,
        labels=query.labels,
        model=query.model,
        deadline=exchange.deadline,
        stages=exchange.stages,
    )
    return json_answer(_shape(found, exchange, features=query.features))


def similar_json(found: SimilarImage) -> SimilarImageJson:
    """The wire form of a similar image."""
    image = found.image
    return SimilarImageJson(
        image.id, image.filename, image.uploaded_by, image.created_at, found.score
    )


def _shape(found: Recognition, exchange: Exchange, *, features: bool) -> RecognizeAnswer:
    stages, model = exchange.stages, found.model
    return RecognizeAnswer(
        labels=found.labels,
        similar_images=[similar_json(match) for match in found.similar],
        suggested_tags=[
            SuggestedTagJson(tag.name, tag.value, tag.confidence, tag.votes)
            for tag in found.suggested_tags
        ],
        feature_vector=_vector(found) if features else UNSET,
        # The guide counts decoding as inference.
        inference_time_ms=stages.ms("decode", "queue", "inference"),
        search_time_ms=stages.ms("search"),
        metadata_time_ms=stages.ms("metadata"),
        total_time_ms=stages.total_ms(),
        cache=found.cache,
        model=ModelUsed(
            model.model, model.precision, model.fingerprint, model.engine, model.device
        ),
        request_id=exchange.request_id,
    )


def _vector(found: Recognition) -> list[float]:
    # In the answer it is a list of floats; here it is JSON already.
    return cast("Any", msgspec.Raw(found.features.embedding_json))  # type: ignore[no-any-return]


ROUTES = [
    Route(
        "POST",
        "/api/recognize",
        "infer",
        recognize,
        "Recognise an image: labels, similar stored images, suggested tags, features.",
        query=RecognizeQuery,
        body="image",
        answers={200: RecognizeAnswer},
        errors=(409, 413),
    )
]

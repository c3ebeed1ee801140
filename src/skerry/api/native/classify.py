"""`POST /api/classify`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from skerry.api.bodies import parse_json
from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.native.wire import ModelUsed
from skerry.api.text_bodies import MAX_TEXTS, ModelName, read_text_body
from skerry.api.text_slices import classify_texts
from skerry.errors import BadRequest

Text = Annotated[str, Meta(min_length=1)]


class ClassifyRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One `text`, or `texts`."""

    text: Text | None = None
    texts: Annotated[list[Text], Meta(min_length=1, max_length=MAX_TEXTS)] | None = None
    model: ModelName | None = None
    long: Literal["refuse", "split", "cut"] = "refuse"
    """A text beyond the model's window is refused, split and its parts averaged, or cut."""


class ClassifyResult(msgspec.Struct):
    """The likeliest class, and the probability of each."""

    label: str
    probabilities: dict[str, float]


class ClassifyAnswer(msgspec.Struct):
    """A result a text, in their order."""

    results: list[ClassifyResult]
    model: ModelUsed
    inference_time_ms: float
    total_time_ms: float
    request_id: str


async def classify(exchange: Exchange) -> Answer:
    """The class of each text."""
    exchange.timed = True
    request = parse_json(await read_text_body(exchange), ClassifyRequest)
    texts = _texts(request)
    async with exchange.node.texts.classifier(request.model) as classifier:
        found = await classify_texts(classifier, texts, exchange=exchange, long=request.long)
        info = classifier.info
    return json_answer(
        ClassifyAnswer(
            results=[ClassifyResult(one.label, one.probabilities) for one in found],
            model=ModelUsed(info.model, info.precision, info.fingerprint, info.engine, info.device),
            inference_time_ms=exchange.stages.ms("tokenize", "queue", "inference"),
            total_time_ms=exchange.stages.total_ms(),
            request_id=exchange.request_id,
        )
    )


def _texts(request: ClassifyRequest) -> list[str]:
    if (request.text is None) == (request.texts is None):
        raise BadRequest("Send either 'text' or 'texts'.")
    return request.texts if request.texts is not None else [request.text or ""]


ROUTES = [
    Route("POST", "/api/classify", "infer", classify,
          "Classify texts: the likeliest class, and the probability of each.",
          body="json", body_type=ClassifyRequest, answers={200: ClassifyAnswer}, errors=(404, 422)),
]  # fmt: skip

"""The protocol of Hugging Face's text-embeddings-inference: `/embed`, `/predict`, `/info`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
import orjson
from msgspec import UNSET, Meta, UnsetType

from skerry import __version__
from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.text_bodies import MAX_TEXTS, ModelName, read_text_json, refuse_unsupported
from skerry.api.text_slices import classify_texts, embed_texts
from skerry.errors import FieldRefused, PayloadTooLarge, WrongTask

TokenId = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
EMBED_UNSUPPORTED: dict[str, Sequence[Any]] = {
    "dimensions": (),
    "encoding_format": ("float",),
    "normalize": (True,),
    "truncation_direction": ("Right", "right"),
}
PREDICT_UNSUPPORTED: dict[str, Sequence[Any]] = {
    "truncation_direction": ("Right", "right"),
}


class ModelQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Ours: which model, where that server has only one."""

    model: ModelName | None = None


class EmbedRequest(msgspec.Struct, kw_only=True):
    """A text, token ids, or several of either."""

    inputs: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]
    truncate: bool | None = None
    """Cut what is longer than the model's window; without it that is refused."""
    normalize: bool | None = None
    prompt_name: str | None = None
    truncation_direction: str | None = None
    dimensions: int | None = None
    encoding_format: str | None = None


class PipelineParameters(msgspec.Struct):
    """What Hugging Face's client sends beside a text it wants classified."""

    top_k: Annotated[int, Meta(ge=1)] | None = None
    function_to_apply: Literal["softmax", "none"] | None = None


class PredictRequest(msgspec.Struct, kw_only=True):
    """A text, a list of one text, or a batch of such lists."""

    inputs: str | Annotated[list[str | list[str]], Meta(min_length=1)]
    truncate: bool | None = None
    raw_scores: bool | None = None
    """The model's own scores in place of probabilities."""
    truncation_direction: str | None = None
    parameters: PipelineParameters | None = None
    """With it the answer is the pipeline's, which `huggingface_hub` reads: a list of lists."""


class Prediction(msgspec.Struct):
    """A class and its probability, or its raw score."""

    score: float
    label: str


class EmbeddingType(msgspec.Struct):
    """How the model makes one vector of its tokens'."""

    pooling: str


class ClassifierType(msgspec.Struct):
    """The model's classes."""

    id2label: dict[str, str]
    label2id: dict[str, int]


class ModelType(msgspec.Struct):
    """What the model does."""

    embedding: EmbeddingType | UnsetType = UNSET
    classifier: ClassifierType | UnsetType = UNSET


class Info(msgspec.Struct):
    """The served model, and the bounds of a request."""

    model_id: str
    model_sha: str
    model_dtype: str
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int
    max_client_batch_size: int
    auto_truncate: bool
    version: str


async def embed(exchange: Exchange) -> Answer:
    """A vector for each input."""
    exchange.timed = True
    request = await read_text_json(exchange, EmbedRequest)
    refuse_unsupported(request, EMBED_UNSUPPORTED)
    texts = _inputs(request.inputs)
    async with exchange.node.texts.embedder(exchange.query.model) as embedder:
        found = await embed_texts(
            embedder, texts, exchange=exchange, long="cut" if request.truncate else "refuse",
            use=request.prompt_name or "", use_field="prompt_name",
        )  # fmt: skip
    # orjson writes a float32 array as its shortest decimals, ten times faster than a list.
    return Answer(200, orjson.dumps(found.vectors, option=orjson.OPT_SERIALIZE_NUMPY))


async def predict(exchange: Exchange) -> Answer:
    """The classes of each input, the likeliest first."""
    exchange.timed = True
    request = await read_text_json(exchange, PredictRequest)
    refuse_unsupported(request, PREDICT_UNSUPPORTED)
    texts, batch = _sequences(request.inputs)
    async with exchange.node.texts.classifier(exchange.query.model) as classifier:
        found = await classify_texts(
            classifier, texts, exchange=exchange, long="cut" if request.truncate else "refuse"
        )
    raw, limit = _wanted(request)
    ranked = [_ranked(one.scores if raw else one.probabilities)[:limit] for one in found]
    return json_answer(ranked if batch or request.parameters is not None else ranked[0])


async def info(exchange: Exchange) -> Answer:
    """The embedding model, or the one that `model` names."""
    try:
        return await _embedder_info(exchange)
    except WrongTask:
        return await _classifier_info(exchange)


async def _embedder_info(exchange: Exchange) -> Answer:
    async with exchange.node.texts.embedder(exchange.query.model) as embedder:
        manifest = embedder.manifest
        return _info(
            exchange, manifest.name, embedder.info.fingerprint, embedder.info.precision,
            ModelType(embedding=EmbeddingType(manifest.pooling)), manifest.text.max_tokens,
        )  # fmt: skip


async def _classifier_info(exchange: Exchange) -> Answer:
    async with exchange.node.texts.classifier(exchange.query.model) as classifier:
        manifest = classifier.manifest
        kind = ClassifierType(
            {str(i): label for i, label in enumerate(manifest.labels)},
            {label: i for i, label in enumerate(manifest.labels)},
        )
        return _info(
            exchange, manifest.name, classifier.info.fingerprint, classifier.info.precision,
            ModelType(classifier=kind), manifest.text.max_tokens,
        )  # fmt: skip


def _info(
    exchange: Exchange, name: str, sha: str, precision: str, kind: ModelType, max_tokens: int
) -> Answer:
    return json_answer(
        Info(
            model_id=name,
            model_sha=sha,
            model_dtype=precision,
            model_type=kind,
            max_concurrent_requests=exchange.node.settings.limits.queue,
            max_input_length=max_tokens,
            max_client_batch_size=MAX_TEXTS,
            auto_truncate=False,
            version=__version__,
        )
    )


def _inputs(given: str | Sequence[str | int | list[int]]) -> list[str | list[int]]:
    if isinstance(given, str):
        texts: list[str | list[int]] = [given]
    elif all(isinstance(item, int) for item in given):
        texts = [cast("list[int]", list(given))]
    elif len({type(item) for item in given}) == 1:
        texts = cast("list[str | list[int]]", list(given))
    else:
        raise FieldRefused("'inputs' mixes texts and token ids.", field="inputs")
    _check_batch(texts)
    return texts


def _sequences(given: str | Sequence[str | list[str]]) -> tuple[list[str], bool]:
    """The texts, and whether they were a batch."""
    if isinstance(given, str):
        rows, batch = [[given]], False
    elif all(isinstance(item, str) for item in given):
        rows, batch = [cast("list[str]", list(given))], False
    elif all(isinstance(item, list) for item in given):
        rows, batch = cast("list[list[str]]", list(given)), True
    else:
        raise FieldRefused("'inputs' mixes texts and lists.", field="inputs")
    if any(len(row) != 1 for row in rows):
        # That protocol reads two texts in a list as one pair, not as two inputs.
        raise FieldRefused(
            "A pair of texts is not supported: each input is a list of one text.",
            field="inputs",
            remedy='Send several texts as [["one"], ["two"]].',
        )
    texts = [row[0] for row in rows]
    _check_batch(texts)
    return texts, batch


def _check_batch(texts: Sequence[str | list[int]]) -> None:
    if len(texts) > MAX_TEXTS:
        raise PayloadTooLarge(
            f"batch size {len(texts)} > maximum allowed batch size {MAX_TEXTS}",
            remedy="Send them in several calls.",
        )
    if not all(texts):
        raise FieldRefused("`inputs` cannot be empty", field="inputs")


def _wanted(request: PredictRequest) -> tuple[bool, int | None]:
    """Whether raw scores are wanted, and of how many classes."""
    parameters = request.parameters or PipelineParameters()
    return request.raw_scores or parameters.function_to_apply == "none", parameters.top_k


def _ranked(scores: dict[str, float]) -> list[Prediction]:
    predictions = [Prediction(score, label) for label, score in scores.items()]
    return sorted(predictions, key=lambda prediction: -prediction.score)


Vectors = list[list[float]]
Predictions = list[Prediction | list[Prediction]]
TEXT_ERRORS = (404, 422, 424, 429)

ROUTES = [
    Route("POST", "/embed", "infer", embed, "A vector for each text (text-embeddings-inference).",
          query=ModelQuery, body="json", body_type=EmbedRequest, answers={200: Vectors},
          errors=TEXT_ERRORS, errors_as="tei"),
    Route("POST", "/predict", "infer", predict,
          "The classes of each text, the likeliest first (text-embeddings-inference).",
          query=ModelQuery, body="json", body_type=PredictRequest, answers={200: Predictions},
          errors=TEXT_ERRORS, errors_as="tei"),
    Route("GET", "/info", "read", info, "The served model (text-embeddings-inference).",
          query=ModelQuery, answers={200: Info}, errors=TEXT_ERRORS, errors_as="tei"),
]  # fmt: skip

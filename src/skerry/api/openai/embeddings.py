"""`POST /v1/embeddings`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
import orjson
from msgspec import Meta

from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.text_bodies import MAX_TEXTS, ModelName, read_text_json
from skerry.api.text_slices import embed_texts
from skerry.errors import FieldRefused
from skerry.inference.base import Float32

EncodingFormat = Literal["float", "base64"]
TokenId = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]


class EmbeddingsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """OpenAI's request, and two fields of ours."""

    input: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]
    """A text, texts, token ids of one text, or of several."""
    model: ModelName | None = None
    encoding_format: EncodingFormat | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None
    long: Literal["refuse", "split"] = "refuse"
    """Ours: a text beyond the model's window is refused, or split and its vectors averaged."""
    input_type: str | None = None
    """Ours: the use of the texts, for a model with prefixes: `query`, `document`."""


class EmbeddingObject(msgspec.Struct):
    """One text's vector: numbers, or base64 of little-endian float32."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingUsage(msgspec.Struct):
    """Tokens of all texts, special tokens included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(msgspec.Struct):
    """The vectors in the order of the texts."""

    data: list[EmbeddingObject]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


async def create_embeddings(exchange: Exchange) -> Answer:
    """A vector for each text."""
    exchange.timed = True
    request = await read_text_json(exchange, EmbeddingsRequest)
    texts = texts_of(request.input)
    async with exchange.node.texts.embedder(request.model) as embedder:
        size = embedder.manifest.embedding_size
        if request.dimensions not in (None, size):
            raise FieldRefused(
                f"'{embedder.manifest.name}' gives {size} dimensions, and no other number.",
                field="dimensions",
                remedy="Leave 'dimensions' out, or use another model.",
            )
        found = await embed_texts(
            embedder, texts, exchange=exchange, long=request.long,
            use=request.input_type or "", use_field="input_type",
        )  # fmt: skip
    encode = _base64 if request.encoding_format == "base64" else _floats
    total = sum(found.tokens)
    return json_answer(
        EmbeddingsAnswer(
            data=[EmbeddingObject(i, encode(row)) for i, row in enumerate(found.vectors)],
            model=embedder.manifest.name,
            usage=EmbeddingUsage(total, total),
        )
    )


def texts_of(given: str | Sequence[str | int | list[int]]) -> list[str | list[int]]:
    """The texts of `input`; FieldRefused when it mixes forms, or a text is empty."""
    if isinstance(given, str):
        texts: list[str | list[int]] = [given]
    elif all(isinstance(item, int) for item in given):
        texts = [cast("list[int]", list(given))]
    elif len({type(item) for item in given}) == 1:
        texts = cast("list[str | list[int]]", list(given))
    else:
        raise FieldRefused(
            "'input' mixes texts and token ids.", field="input", remedy="Send one form at a time."
        )
    if len(texts) > MAX_TEXTS:
        raise FieldRefused(
            f"'input' has {len(texts)} texts, at most {MAX_TEXTS} in one call.",
            field="input",
            remedy="Send them in several calls.",
        )
    empty = next((i for i, text in enumerate(texts) if not text), None)
    if empty is not None:
        raise FieldRefused(
            "A text is empty.", field="input" if isinstance(given, str) else f"input[{empty}]"
        )
    return texts


def _floats(vector: Float32) -> list[float]:
    # orjson writes a float32 array as its shortest decimals, ten times faster than a list.
    text = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
    return cast("Any", msgspec.Raw(text))  # type: ignore[no-any-return]


def _base64(vector: Float32) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


ROUTES = [
    Route("POST", "/v1/embeddings", "infer", create_embeddings, "A vector for each text (OpenAI).",
          body="json", body_type=EmbeddingsRequest, answers={200: EmbeddingsAnswer},
          errors=(404, 422), errors_as="openai"),
]  # fmt: skip

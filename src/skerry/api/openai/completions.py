"""`POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from skerry.api.contract import AnyAnswer, Exchange, Route
from skerry.api.generation import Written
from skerry.api.openai.answering import Head, Order, answer
from skerry.api.openai.wire import (
    MAX_CHOICES,
    Choices,
    Count,
    Penalty,
    Seed,
    Stop,
    StreamOptions,
    Temperature,
    TopP,
    Usage,
    check_stream_options,
    finite,
    seed_of,
    stops,
)
from skerry.api.text_bodies import MAX_INT, ModelName, read_text_json, refuse_unsupported
from skerry.errors import FieldRefused
from skerry.generation.base import (
    Event,
    Finished,
    GenerationRequest,
    GeneratorInfo,
    Sampling,
    TokenLogprob,
)

MAX_TOKENS = 16
"""OpenAI's default for this path."""
TokenId = Annotated[int, Meta(ge=0, le=MAX_INT)]
UNSUPPORTED: dict[str, Sequence[Any]] = {
    "best_of": (1,),
    "echo": (False,),
    "logit_bias": ({},),
    "suffix": ("",),
}


class CompletionRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """OpenAI's request; `user` is taken and not used."""

    prompt: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]
    """A text, texts, token ids of one prompt, or of several."""
    model: ModelName | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    max_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    user: str | None = None
    # Refused by name.
    best_of: int | None = None
    echo: bool | None = None
    logit_bias: Any = None
    suffix: str | None = None


class CompletionLogprobs(msgspec.Struct):
    """Log-probabilities of the tokens, and where each begins in the text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(msgspec.Struct):
    """One of the answers, or what came of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class CompletionAnswer(msgspec.Struct):
    """The answers; an event of a streamed answer has the same shape."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    system_fingerprint: str
    object: Literal["text_completion"] = "text_completion"
    usage: Usage | UnsetType | None = UNSET


async def create_completion(exchange: Exchange) -> AnyAnswer:
    """What follows the prompts, whole or as it comes."""
    asked = await read_text_json(exchange, CompletionRequest)
    with_usage = check_stream_options(asked.stream_options, stream=bool(asked.stream))
    order = Order(
        model=asked.model,
        requests=_requests(asked),
        choices=asked.n or 1,
        check=lambda info: _check_model(asked, info),
        wording=CompletionWording,
        stream=bool(asked.stream),
        with_usage=with_usage,
    )
    return await answer(order, exchange)


def prompts_of(given: str | Sequence[str | int | list[int]]) -> list[str | tuple[int, ...]]:
    """The prompts; FieldRefused when they mix forms, or one is empty."""
    prompts: list[str | tuple[int, ...]]
    if isinstance(given, str):
        prompts = [given]
    elif all(isinstance(item, int) for item in given):
        prompts = [tuple(cast("Sequence[int]", given))]
    elif len({type(item) for item in given}) == 1:
        prompts = [item if isinstance(item, str) else tuple(cast("list[int]", item))
                   for item in given]  # fmt: skip
    else:
        raise FieldRefused(
            "'prompt' mixes texts and token ids.", field="prompt", remedy="Send one form at a time."
        )
    if not all(prompts):
        raise FieldRefused("A prompt is empty.", field="prompt")
    return prompts


def _requests(asked: CompletionRequest) -> list[GenerationRequest]:
    """For each prompt as many as there are choices, in OpenAI's order."""
    refuse_unsupported(asked, UNSUPPORTED)
    prompts, choices = prompts_of(asked.prompt), asked.n or 1
    if len(prompts) * choices > MAX_CHOICES:
        raise FieldRefused(
            f"{len(prompts)} prompts with {choices} answers each are too many: at most "
            f"{MAX_CHOICES} answers in one call.",
            field="prompt" if choices == 1 else "n",
            remedy="Send them in several calls.",
        )
    stop = stops(asked.stop)
    return [
        GenerationRequest(
            prompt=prompt,
            sampling=Sampling(
                max_tokens=MAX_TOKENS if asked.max_tokens is None else asked.max_tokens,
                temperature=1.0 if asked.temperature is None else asked.temperature,
                top_p=1.0 if asked.top_p is None else asked.top_p,
                seed=seed_of(asked.seed, choice),
                stop=stop,
                presence_penalty=asked.presence_penalty or 0.0,
                frequency_penalty=asked.frequency_penalty or 0.0,
                logprobs=asked.logprobs,
            ),
        )
        for prompt in prompts
        for choice in range(choices)
    ]


def _check_model(asked: CompletionRequest, info: GeneratorInfo) -> None:
    if asked.logprobs is not None and not info.logprobs:
        raise FieldRefused(
            f"'{info.model}' ({info.engine}) does not support 'logprobs'.",
            field="logprobs",
            remedy="Leave it out.",
        )


class CompletionWording:
    """An answer as completions give it."""

    prefix: ClassVar[str] = "cmpl"

    def __init__(self, head: Head) -> None:
        self._head = head
        self._offsets: dict[int, int] = {}

    def whole(self, written: Sequence[Written], total: Usage) -> CompletionAnswer:
        """All choices, in their order."""
        choices = [
            CompletionChoice(i, one.text, _logprobs(one.logprobs, 0), _reason(one.end))
            for i, one in enumerate(written)
        ]
        return self._answer(choices, total)

    def pieces(self, index: int, happened: Event) -> list[CompletionAnswer]:
        """An event for each of the generator's."""
        return [self._answer([self._choice(index, happened)])]

    def last(self, total: Usage) -> CompletionAnswer:
        """The event that tells the usage."""
        return self._answer([], total)

    def _choice(self, index: int, happened: Event) -> CompletionChoice:
        if isinstance(happened, Finished):
            return CompletionChoice(index, "", None, _reason(happened))
        offset = self._offsets.get(index, 0)
        self._offsets[index] = offset + sum(len(token.text) for token in happened.logprobs)
        return CompletionChoice(index, happened.text, _logprobs(happened.logprobs, offset), None)

    def _answer(
        self, choices: list[CompletionChoice], total: Usage | None = None
    ) -> CompletionAnswer:
        head = self._head
        return CompletionAnswer(
            head.id, head.created, head.model, choices, head.fingerprint,
            usage=total or head.no_usage,
        )  # fmt: skip


def _reason(end: Finished) -> Literal["stop", "length"]:
    return "length" if end.reason == "length" else "stop"


def _logprobs(given: Sequence[TokenLogprob], offset: int) -> CompletionLogprobs | None:
    if not given:
        return None
    offsets = []
    for token in given:
        offsets.append(offset)
        offset += len(token.text)
    return CompletionLogprobs(
        tokens=[token.text for token in given],
        token_logprobs=[finite(token.logprob) for token in given],
        top_logprobs=[{text: finite(p) for text, p in token.top} for token in given],
        text_offset=offsets,
    )


ROUTES = [
    Route("POST", "/v1/completions", "infer", create_completion,
          "What follows a prompt, whole or streamed (OpenAI).",
          body="json", body_type=CompletionRequest, answers={200: CompletionAnswer},
          errors=(404, 422), errors_as="openai", streams=True),
]  # fmt: skip

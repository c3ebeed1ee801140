"""`POST /v1/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from skerry.api.contract import Answer, AnyAnswer, Exchange, Route, StreamAnswer, json_answer
from skerry.api.generation import Written, events_of, write_all
from skerry.api.openai.wire import (
    DONE,
    MAX_CHOICES,
    STREAM_HEADERS,
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
    event,
    failed_event,
    fingerprint,
    finite,
    new_id,
    now,
    seed_of,
    stops,
    usage,
)
from skerry.api.streaming import started, while_connected
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
    requests = _requests(asked)
    if asked.stream:
        chunks = _stream(exchange, asked, requests, with_usage=with_usage)
        return StreamAnswer(
            await started(chunks, exchange), failed_event(exchange), headers=dict(STREAM_HEADERS)
        )
    async with while_connected(exchange), exchange.node.texts.generator(asked.model) as slots:
        _check_model(asked, slots.info)
        written = await write_all(slots, requests, exchange)
    return _whole(written, slots.info, choices=asked.n or 1)


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


def _whole(written: Sequence[Written], info: GeneratorInfo, *, choices: int) -> Answer:
    return json_answer(
        CompletionAnswer(
            id=new_id("cmpl"),
            created=now(),
            model=info.model,
            choices=[
                CompletionChoice(i, one.text, _logprobs(one.logprobs, 0), _reason(one.end))
                for i, one in enumerate(written)
            ],
            system_fingerprint=fingerprint(info),
            usage=usage([one.end for one in written], choices=choices),
        )
    )


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


async def _stream(
    exchange: Exchange,
    asked: CompletionRequest,
    requests: Sequence[GenerationRequest],
    *,
    with_usage: bool,
) -> AsyncGenerator[bytes, None]:
    async with exchange.node.texts.generator(asked.model) as slots:
        _check_model(asked, slots.info)
        stream = _Events(slots.info, with_usage=with_usage)
        ends: dict[int, Finished] = {}
        async with aclosing(events_of(slots, requests, exchange)) as events:
            async for index, happened in events:
                yield stream.event([stream.choice(index, happened)])
                if isinstance(happened, Finished):
                    ends[index] = happened
        if with_usage:
            total = usage([ends[i] for i in sorted(ends)], choices=asked.n or 1)
            yield stream.event([], total)
        yield DONE


class _Events:
    """Makes the events of one stream, all under one id."""

    def __init__(self, info: GeneratorInfo, *, with_usage: bool) -> None:
        self._id, self._created, self._info = new_id("cmpl"), now(), info
        self._no_usage: UnsetType | None = None if with_usage else UNSET
        self._offsets: dict[int, int] = {}

    def choice(self, index: int, happened: Event) -> CompletionChoice:
        """What one event of the generator becomes."""
        if isinstance(happened, Finished):
            return CompletionChoice(index, "", None, _reason(happened))
        offset = self._offsets.get(index, 0)
        self._offsets[index] = offset + sum(len(token.text) for token in happened.logprobs)
        return CompletionChoice(index, happened.text, _logprobs(happened.logprobs, offset), None)

    def event(self, choices: list[CompletionChoice], total: Usage | None = None) -> bytes:
        """A server-sent event with these choices."""
        return event(
            CompletionAnswer(
                self._id, self._created, self._info.model, choices, fingerprint(self._info),
                usage=total or self._no_usage,
            )
        )  # fmt: skip


ROUTES = [
    Route("POST", "/v1/completions", "infer", create_completion,
          "What follows a prompt, whole or streamed (OpenAI).",
          body="json", body_type=CompletionRequest, answers={200: CompletionAnswer},
          errors=(404, 422), errors_as="openai"),
]  # fmt: skip

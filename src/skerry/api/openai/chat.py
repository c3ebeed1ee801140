"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from skerry.api.contract import Answer, AnyAnswer, Exchange, Route, StreamAnswer, json_answer
from skerry.api.generation import Written, events_of, write_all
from skerry.api.openai.formats import ResponseFormat, schema_of
from skerry.api.openai.messages import (
    ChatMessage,
    NamedTool,
    ToolCallJson,
    ToolJson,
    call_json,
    conversation,
    tools_of,
)
from skerry.api.openai.wire import (
    DONE,
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
from skerry.api.text_bodies import ModelName, read_text_json, refuse_unsupported
from skerry.errors import FieldRefused
from skerry.generation.base import (
    Event,
    Finished,
    GenerationRequest,
    GeneratorInfo,
    Sampling,
    TokenLogprob,
)
from skerry.generation.slots import Slots

# What OpenAI's API has and a node has not, with the values that ask for nothing.
UNSUPPORTED: dict[str, Sequence[Any]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True,),
    "prediction": (),
    "reasoning_effort": ("none",),
    "store": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}


class ChatRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """OpenAI's request; fields that change nothing in the answer are taken and not used."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=4096)]
    model: ModelName | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[ToolJson] | None = None
    tool_choice: str | NamedTool | None = None
    # Taken and not used: they are for the server's books, not for the answer.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: Any = None
    # Refused by name.
    audio: Any = None
    function_call: Any = None
    functions: Any = None
    logit_bias: Any = None
    modalities: Any = None
    moderation: Any = None
    parallel_tool_calls: bool | None = None
    prediction: Any = None
    reasoning_effort: Any = None
    store: bool | None = None
    verbosity: Any = None
    web_search_options: Any = None


class TopLogprob(msgspec.Struct):
    """A token that was likely, and its UTF-8 bytes."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprobJson(TopLogprob):
    """A token of the answer, and the likeliest at its place."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct):
    """Log-probabilities of the answer's tokens."""

    content: list[TokenLogprobJson]
    refusal: None = None


class AssistantMessage(msgspec.Struct):
    """The model's turn."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    tool_calls: list[ToolCallJson] | UnsetType = UNSET


class ChatChoice(msgspec.Struct):
    """One of the `n` answers."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatAnswer(msgspec.Struct):
    """The answers, whole."""

    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str
    object: Literal["chat.completion"] = "chat.completion"


class ToolCallDelta(ToolCallJson, kw_only=True):
    """A call, with its place among the answer's calls."""

    index: int


class ChunkDelta(msgspec.Struct, omit_defaults=True):
    """What came: at first the role, then text, at last calls of tools."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """What came of one of the answers."""

    index: int
    delta: ChunkDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: Literal["stop", "length", "tool_calls"] | None = None


class ChatChunk(msgspec.Struct):
    """An event of a streamed answer."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: Usage | UnsetType | None = UNSET


async def create_chat_completion(exchange: Exchange) -> AnyAnswer:
    """The model's next turn, whole or as it comes."""
    asked = await read_text_json(exchange, ChatRequest)
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
    return _whole(written, slots.info)


def _requests(asked: ChatRequest) -> list[GenerationRequest]:
    refuse_unsupported(asked, UNSUPPORTED)
    messages = conversation(asked.messages)
    tools = tools_of(asked.tools, asked.tool_choice)
    stop, schema = stops(asked.stop), schema_of(asked.response_format)
    if asked.top_logprobs is not None and not asked.logprobs:
        raise FieldRefused("'top_logprobs' needs 'logprobs' to be true.", field="top_logprobs")
    return [
        GenerationRequest(
            prompt=messages,
            tools=tools,
            sampling=Sampling(
                max_tokens=_max_tokens(asked),
                temperature=1.0 if asked.temperature is None else asked.temperature,
                top_p=1.0 if asked.top_p is None else asked.top_p,
                seed=seed_of(asked.seed, choice),
                stop=stop,
                presence_penalty=asked.presence_penalty or 0.0,
                frequency_penalty=asked.frequency_penalty or 0.0,
                logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
                json_schema=schema,
            ),
        )
        for choice in range(asked.n or 1)
    ]


def _max_tokens(asked: ChatRequest) -> int | None:
    if asked.max_completion_tokens is None:
        return asked.max_tokens
    return asked.max_completion_tokens


def _check_model(asked: ChatRequest, info: GeneratorInfo) -> None:
    wanted = {
        "messages": not info.chat,
        "tools": bool(asked.tools) and asked.tool_choice != "none" and not info.tools,
        "logprobs": bool(asked.logprobs) and not info.logprobs,
        "response_format": schema_of(asked.response_format) is not None and not info.grammar,
    }
    for name, lacking in wanted.items():
        if lacking:
            raise FieldRefused(
                f"'{info.model}' ({info.engine}) does not support '{name}'.",
                field=name,
                remedy="Use POST /v1/completions." if name == "messages" else "Leave it out.",
            )


def _whole(written: Sequence[Written], info: GeneratorInfo) -> Answer:
    choices = [
        ChatChoice(
            index=i,
            message=_message(one),
            logprobs=_logprobs(one.logprobs),
            finish_reason=one.end.reason,
        )
        for i, one in enumerate(written)
    ]
    return json_answer(
        ChatAnswer(
            id=new_id("chatcmpl"),
            created=now(),
            model=info.model,
            choices=choices,
            usage=usage([one.end for one in written], choices=len(written)),
            system_fingerprint=fingerprint(info),
        )
    )


def _message(written: Written) -> AssistantMessage:
    calls = written.end.tool_calls
    if not calls:
        return AssistantMessage(written.text)
    return AssistantMessage(written.text or None, tool_calls=[call_json(call) for call in calls])


def _logprobs(given: Sequence[TokenLogprob]) -> ChatLogprobs | None:
    if not given:
        return None
    return ChatLogprobs(
        [
            TokenLogprobJson(
                token.text, finite(token.logprob), list(token.text.encode()),
                [TopLogprob(text, finite(p), list(text.encode())) for text, p in token.top],
            )
            for token in given
        ]
    )  # fmt: skip


async def _stream(
    exchange: Exchange,
    asked: ChatRequest,
    requests: Sequence[GenerationRequest],
    *,
    with_usage: bool,
) -> AsyncGenerator[bytes, None]:
    async with exchange.node.texts.generator(asked.model) as slots:
        _check_model(asked, slots.info)
        chunk = _Chunks(slots, with_usage=with_usage)
        ends: dict[int, Finished] = {}
        async with aclosing(events_of(slots, requests, exchange)) as events:
            async for index, happened in events:
                for choice in chunk.choices_of(index, happened):
                    yield chunk.event([choice])
                if isinstance(happened, Finished):
                    ends[index] = happened
        if with_usage:
            yield chunk.event([], usage([ends[i] for i in sorted(ends)], choices=len(ends)))
        yield DONE


class _Chunks:
    """Makes the events of one stream, all under one id."""

    def __init__(self, slots: Slots, *, with_usage: bool) -> None:
        self._id, self._created, self._info = new_id("chatcmpl"), now(), slots.info
        self._no_usage: UnsetType | None = None if with_usage else UNSET
        self._begun: set[int] = set()

    def choices_of(self, index: int, happened: Event) -> list[ChunkChoice]:
        """What one event of the generator becomes: the role before the first, maybe nothing."""
        choices = []
        if index not in self._begun:
            self._begun.add(index)
            choices.append(ChunkChoice(index, ChunkDelta(role="assistant", content="")))
        if isinstance(happened, Finished):
            choices.append(ChunkChoice(index, _calls(happened), finish_reason=happened.reason))
        elif happened.text or happened.logprobs:
            delta = ChunkDelta(content=happened.text)
            choices.append(ChunkChoice(index, delta, _logprobs(happened.logprobs)))
        return choices

    def event(self, choices: list[ChunkChoice], total: Usage | None = None) -> bytes:
        """A server-sent event with these choices."""
        return event(
            ChatChunk(
                self._id, self._created, self._info.model, fingerprint(self._info), choices,
                usage=total or self._no_usage,
            )
        )  # fmt: skip


def _calls(end: Finished) -> ChunkDelta:
    if not end.tool_calls:
        return ChunkDelta()
    made = [call_json(call) for call in end.tool_calls]
    return ChunkDelta(
        tool_calls=[
            ToolCallDelta(index=i, id=call.id, function=call.function)
            for i, call in enumerate(made)
        ]
    )


ROUTES = [
    Route("POST", "/v1/chat/completions", "infer", create_chat_completion,
          "The next turn of a conversation, whole or streamed (OpenAI).",
          body="json", body_type=ChatRequest, answers={200: ChatAnswer},
          errors=(404, 422), errors_as="openai"),
]  # fmt: skip

"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from skerry.api.contract import AnyAnswer, Exchange, Route
from skerry.api.openai.answering import Order, answer
from skerry.api.openai.chat_answers import ChatAnswer, ChatWording
from skerry.api.openai.formats import ResponseFormat, schema_of
from skerry.api.openai.messages import (
    ChatMessage,
    ToolChoice,
    ToolJson,
    conversation,
    forced_of,
    tools_of,
)
from skerry.api.openai.wire import (
    Choices,
    Count,
    Penalty,
    Seed,
    Stop,
    StreamOptions,
    Temperature,
    TopP,
    check_stream_options,
    seed_of,
    stops,
)
from skerry.api.text_bodies import ModelName, read_text_json, refuse_unsupported
from skerry.errors import FieldRefused
from skerry.generation.base import GenerationRequest, GeneratorInfo, Sampling

# What OpenAI's API has and a node has not, with the values that ask for nothing.
UNSUPPORTED: dict[str, Sequence[Any]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "moderation": (),
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
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
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
    prediction: Any = None
    reasoning_effort: Any = None
    store: bool | None = None
    verbosity: Any = None
    web_search_options: Any = None


async def create_chat_completion(exchange: Exchange) -> AnyAnswer:
    """The model's next turn, whole or as it comes."""
    asked = await read_text_json(exchange, ChatRequest)
    with_usage = check_stream_options(asked.stream_options, stream=bool(asked.stream))
    order = Order(
        model=asked.model,
        requests=_requests(asked),
        choices=asked.n or 1,
        check=lambda info: _check_model(asked, info),
        wording=ChatWording,
        stream=bool(asked.stream),
        with_usage=with_usage,
    )
    return await answer(order, exchange)


def _requests(asked: ChatRequest) -> list[GenerationRequest]:
    refuse_unsupported(asked, UNSUPPORTED)
    messages = conversation(asked.messages)
    tools = tools_of(asked.tools, asked.tool_choice)
    forced = forced_of(tools, asked.tool_choice)
    stop, schema = stops(asked.stop), schema_of(asked.response_format)
    if asked.top_logprobs is not None and not asked.logprobs:
        raise FieldRefused("'top_logprobs' needs 'logprobs' to be true.", field="top_logprobs")
    return [
        GenerationRequest(
            prompt=messages,
            tools=tools,
            forced=forced,
            parallel_calls=asked.parallel_tool_calls is not False,
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
    forced = asked.tool_choice not in (None, "none", "auto")
    wanted = {
        "messages": not info.chat,
        "tools": bool(asked.tools) and asked.tool_choice != "none" and not info.tools,
        "tool_choice": forced and not info.grammar,
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


ROUTES = [
    Route("POST", "/v1/chat/completions", "infer", create_chat_completion,
          "The next turn of a conversation, whole or streamed (OpenAI).",
          body="json", body_type=ChatRequest, answers={200: ChatAnswer},
          errors=(404, 422), errors_as="openai", streams=True),
]  # fmt: skip

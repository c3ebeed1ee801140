"""Requests and streams in the OpenAI API's shape, for servers that speak it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from skerry.errors import ModelUnavailable
from skerry.generation.base import (
    Delta,
    Event,
    Finished,
    FinishReason,
    GenerationRequest,
    Message,
    Sampling,
    TokenLogprob,
    Tool,
    ToolCall,
)

END = b"[DONE]"


def message_body(message: Message) -> dict[str, Any]:
    """One turn, as /v1/chat/completions takes it."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        body["tool_call_id"] = message.tool_call_id
    return body


def tool_body(tool: Tool) -> dict[str, Any]:
    """A function the model may ask for."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}


def is_chat(request: GenerationRequest) -> bool:
    """Whether the prompt is a conversation."""
    prompt = request.prompt
    return not isinstance(prompt, str) and bool(prompt) and isinstance(prompt[0], Message)


def request_body(request: GenerationRequest, *, model: str) -> dict[str, Any]:
    """The body for /v1/chat/completions, or for /v1/completions when `is_chat` is false."""
    sampling = request.sampling
    body = sampling_body(sampling) | {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if not is_chat(request):
        logprobs = {} if sampling.logprobs is None else {"logprobs": sampling.logprobs}
        return body | logprobs | {"prompt": _plain(request.prompt)}
    body["messages"] = [
        message_body(message) for message in request.prompt if isinstance(message, Message)
    ]
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    if request.tools:
        body["tools"] = [tool_body(tool) for tool in request.tools]
        if not request.parallel_calls:
            body["parallel_tool_calls"] = False
    if request.forced:
        body["tool_choice"] = _choice(request.forced)
    return body


def _choice(forced: Sequence[str]) -> Any:
    """`forced` is one tool or all of them."""
    if len(forced) > 1:
        return "required"
    return {"type": "function", "function": {"name": forced[0]}}


def sampling_body(sampling: Sampling) -> dict[str, Any]:
    """How to sample; what is left to the server's default is left out."""
    body: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    if sampling.max_tokens is not None:
        body["max_tokens"] = sampling.max_tokens
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.json_schema is not None:
        schema = msgspec.json.decode(sampling.json_schema)
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        }
    return body


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Token(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Top] = []


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None
    # The older shape, of /v1/completions.
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _ChoiceDelta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _ChoiceDelta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class Chunk(msgspec.Struct):
    """One event of a stream, chat or plain."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


class StreamReader:
    """Turns the events of one stream into ours."""

    def __init__(self, *, source: str) -> None:
        self._source = source
        self._reason: str = ""
        self._usage: _Usage | None = None
        self._calls: dict[int, list[str]] = {}
        self._decoder = msgspec.json.Decoder(Chunk)

    async def events(self, data: AsyncIterator[bytes]) -> AsyncIterator[Event]:
        """The text as it comes, at last a Finished. ModelUnavailable for a stream cut short."""
        async for item in data:
            if item == END:
                break
            for event in self._take(item):
                yield event
        yield self._finished()

    def chunk(self, item: bytes) -> Chunk:
        """Decode one event."""
        try:
            return self._decoder.decode(item)
        except msgspec.DecodeError as error:
            raise ModelUnavailable(
                f"{self._source} sent an event of another shape: {error}."
            ) from error

    def _take(self, item: bytes) -> list[Event]:
        chunk = self.chunk(item)
        if bytes(chunk.error):
            raise ModelUnavailable(f"{self._source} broke off: {bytes(chunk.error)[:500]!r}.")
        self._usage = chunk.usage or self._usage
        events: list[Event] = []
        for choice in chunk.choices[:1]:
            self._reason = choice.finish_reason or self._reason
            text = (choice.delta.content if choice.delta else choice.text) or ""
            logprobs = _logprobs(choice.logprobs)
            if text or logprobs:
                events.append(Delta(text=text, logprobs=logprobs))
            for call in (choice.delta and choice.delta.tool_calls) or ():
                self._add_call(call)
        return events

    def _add_call(self, delta: _ToolDelta) -> None:
        call = self._calls.setdefault(delta.index, ["", "", ""])
        call[0] = call[0] or delta.id or ""
        if delta.function is not None:
            call[1] += delta.function.name or ""
            call[2] += delta.function.arguments or ""

    def _finished(self) -> Finished:
        if not self._reason:
            raise ModelUnavailable(f"{self._source} ended its stream before the answer was whole.")
        if self._usage is None:
            raise ModelUnavailable(
                f"{self._source} does not count tokens (no usage in its stream)."
            )
        details = self._usage.prompt_tokens_details
        return Finished(
            reason=_reason(self._reason, has_calls=bool(self._calls)),
            prompt_tokens=self._usage.prompt_tokens,
            completion_tokens=self._usage.completion_tokens,
            cached_tokens=details.cached_tokens if details else None,
            tool_calls=tuple(
                ToolCall(id=call[0] or f"call_{index}", name=call[1], arguments=call[2])
                for index, call in sorted(self._calls.items())
            ),
        )


def _plain(prompt: object) -> str | list[int]:
    return prompt if isinstance(prompt, str) else list(prompt)  # type: ignore[call-overload]


def _reason(told: str, *, has_calls: bool) -> FinishReason:
    if has_calls:
        return "tool_calls"
    return "length" if told == "length" else "stop"


def _logprobs(told: _Logprobs | None) -> tuple[TokenLogprob, ...]:
    if told is None:
        return ()
    if told.content is not None:
        return tuple(
            TokenLogprob(
                text=token.token,
                logprob=token.logprob,
                top=tuple((top.token, top.logprob) for top in token.top_logprobs),
            )
            for token in told.content
        )
    tops = told.top_logprobs or [None] * len(told.tokens)
    return tuple(
        TokenLogprob(text=text, logprob=logprob or 0.0, top=tuple((top or {}).items()))
        for text, logprob, top in zip(told.tokens, told.token_logprobs, tops, strict=False)
    )

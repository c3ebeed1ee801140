"""What `POST /v1/chat/completions` answers, whole or in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from skerry.api.generation import Written
from skerry.api.openai.answering import Head
from skerry.api.openai.messages import ToolCallJson, call_json
from skerry.api.openai.wire import Usage, finite
from skerry.generation.base import Event, Finished, TokenLogprob


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


class ChatWording:
    """An answer as chat completions give it."""

    prefix: ClassVar[str] = "chatcmpl"

    def __init__(self, head: Head) -> None:
        self._head = head
        self._begun: set[int] = set()

    def whole(self, written: Sequence[Written], total: Usage) -> ChatAnswer:
        """All choices, in their order."""
        head = self._head
        choices = [
            ChatChoice(i, _message(one), _logprobs(one.logprobs), one.end.reason)
            for i, one in enumerate(written)
        ]
        return ChatAnswer(head.id, head.created, head.model, choices, total, head.fingerprint)

    def pieces(self, index: int, happened: Event) -> list[ChatChunk]:
        """The role before the first words; nothing for an event without words."""
        choices = []
        if index not in self._begun:
            self._begun.add(index)
            choices.append(ChunkChoice(index, ChunkDelta(role="assistant", content="")))
        if isinstance(happened, Finished):
            choices += [ChunkChoice(index, call) for call in _calls(happened)]
            choices.append(ChunkChoice(index, ChunkDelta(), finish_reason=happened.reason))
        elif happened.text or happened.logprobs:
            delta = ChunkDelta(content=happened.text)
            choices.append(ChunkChoice(index, delta, _logprobs(happened.logprobs)))
        return [self._chunk([choice]) for choice in choices]

    def last(self, total: Usage) -> ChatChunk:
        """The event that tells the usage."""
        return self._chunk([], total)

    def _chunk(self, choices: list[ChunkChoice], total: Usage | None = None) -> ChatChunk:
        head = self._head
        return ChatChunk(
            head.id, head.created, head.model, head.fingerprint, choices,
            usage=total or head.no_usage,
        )  # fmt: skip


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


def _calls(end: Finished) -> list[ChunkDelta]:
    """One a call; the end comes after them, where OpenAI's client takes them for whole."""
    made = [call_json(call) for call in end.tool_calls]
    return [
        ChunkDelta(tool_calls=[ToolCallDelta(index=i, id=call.id, function=call.function)])
        for i, call in enumerate(made)
    ]

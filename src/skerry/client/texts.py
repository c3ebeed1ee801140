"""A node's text models: embeddings, classes, chat."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from skerry.client.transport import Transport

Long = Literal["refuse", "split", "cut"]
DATA = "data:"
DONE = "[DONE]"


class Classified(msgspec.Struct):
    """A text's likeliest class, and the probability of each."""

    label: str
    probabilities: dict[str, float]


class _Classes(msgspec.Struct):
    results: list[Classified]


class _Embedding(msgspec.Struct):
    embedding: list[float]


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


class ChatUsage(msgspec.Struct):
    """Tokens of prompt and answer, as the runtime counted them."""

    prompt_tokens: int
    completion_tokens: int


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class ChatPart(msgspec.Struct):
    """A piece of an answer as it comes; the last ones carry why it ended, and the usage."""

    choices: list[_Choice] = []
    usage: ChatUsage | None = None

    @property
    def text(self) -> str:
        """What was written since the part before."""
        return "".join(choice.delta.content or "" for choice in self.choices)

    @property
    def finish_reason(self) -> str | None:
        """`stop`, `length`, or None while it goes on."""
        return next((c.finish_reason for c in self.choices if c.finish_reason), None)


class Texts:
    """Calls of the node's text models; without `model` its default ones."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def classify(
        self, texts: Sequence[str], *, model: str | None = None, long: Long = "refuse"
    ) -> list[Classified]:
        """The class of each text, in their order."""
        body = _named(model, {"texts": list(texts), "long": long})
        return self._transport.call("POST", "/api/classify", type=_Classes, json=body).results

    def embed(
        self, texts: Sequence[str], *, model: str | None = None, long: Long = "refuse"
    ) -> list[list[float]]:
        """A vector a text, in their order; `long` texts are refused, or `split` and averaged."""
        body = _named(model, {"input": list(texts), "long": long})
        answer = self._transport.call("POST", "/v1/embeddings", type=_Embeddings, json=body)
        return [one.embedding for one in answer.data]

    def chat(
        self, messages: Sequence[Mapping[str, str]], *, model: str | None = None, **options: Any
    ) -> Generator[ChatPart]:
        """The answer as it is written; closing the iterator ends it on the node too.

        `options` are the OpenAI API's: `max_tokens`, `temperature`, `seed`, `stop` ...
        """
        asked = {name: value for name, value in options.items() if value is not None}
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        body = _named(model, {"messages": list(messages), **streamed, **asked})
        for line in self._transport.lines("POST", "/v1/chat/completions", json=body):
            data = line.removeprefix(DATA).strip()
            if line.startswith(DATA) and data != DONE:
                yield self._transport.read_event(data, ChatPart)


def _named(model: str | None, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "model": model} if model else body

"""The contract of a language model's runtime: one request in, a stream of text out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model asks to have called; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation. Its content is text: a special token in it stays text."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may ask for; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are chosen, and when to stop. Names and ranges are the OpenAI API's."""

    max_tokens: int | None = None
    """Tokens of the answer; None: what the context has left."""
    temperature: float = 1.0
    """0 to 2; 0 always takes the likeliest token."""
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    """Up to 4 strings that end the answer and are not part of it."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logprobs: int | None = None
    """Likeliest alternatives told for each token, 0 to 20; None: no log-probabilities."""
    json_schema: str | None = None
    """JSON schema, as text, that the answer must fit: enforced by a grammar while sampling."""


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to continue: a conversation, a plain text, or token ids."""

    prompt: tuple[Message, ...] | str | tuple[int, ...]
    tools: tuple[Tool, ...] = ()
    forced: tuple[str, ...] = ()
    """Names of tools, one of which the answer has to call; none: it may be text as well."""
    parallel_calls: bool = True
    """Whether one answer may hold several calls."""
    sampling: Sampling


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """Natural logarithm of a token's probability; `top` holds the likeliest at its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer's next text, of one token or several; never half a character."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The last event of every stream; token counts are the runtime's own."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    """Of the prompt, those whose work an earlier request had done; None: the runtime is silent."""
    tool_calls: tuple[ToolCall, ...] = ()


Event = Delta | Finished


class GeneratorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What runs, said in the log, in /api/status and in answers."""

    model: str
    engine: str
    """`openvino`, `llamacpp` or `remote`."""
    device: str
    slots: int
    """Requests that are worked on side by side; `generate` takes no more than these at once."""
    context: int
    """Tokens of prompt and answer together."""
    chat: bool
    """Whether the model has a chat template."""
    tools: bool
    logprobs: bool
    grammar: bool


class Generator(Protocol):
    """A language model that runs: in a worker process, or behind a URL.

    When the process ends, requests under way fail with ModelUnavailable and the next one starts
    it again.
    """

    info: GeneratorInfo
    """Set by `open`."""

    async def open(self) -> None:
        """Load the model; ModelUnavailable, ModelInvalid, ConfigError say why it cannot be."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """The answer as it comes, at last a `Finished`.

        Closing the iterator (`aclose`), or cancelling who reads it, frees the slot at once.
        Raises ContextLengthExceeded, BadRequest for what the model or runtime lacks (named),
        Unprocessable for a schema that makes no grammar, ModelUnavailable.
        """

    async def count_tokens(self, text: str) -> int:
        """Tokens of a plain text."""

    async def close(self) -> None:
        """End the process; requests under way fail."""

"""What OpenAI's protocols share: usage, log-probabilities, server-sent events, choices."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from skerry import __version__
from skerry.api.contract import Exchange
from skerry.api.faults import openai_error
from skerry.api.streaming import sse_event
from skerry.api.text_bodies import MAX_INT
from skerry.errors import FieldRefused, SkerryError
from skerry.generation.base import Finished, GeneratorInfo

MAX_CHOICES = 16
"""Answers of one request together."""
MAX_STOPS = 4
LEAST_LOGPROB = -9999.0
"""What OpenAI's API tells for a token that cannot come; JSON has no infinity."""
DONE = b"data: [DONE]\n\n"

Count = Annotated[int, Meta(ge=1, le=MAX_INT)]
Choices = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Seed = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Stop = str | list[str]


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Options of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CachedTokens(msgspec.Struct):
    """Of the prompt, what an earlier request had worked out."""

    cached_tokens: int


class Usage(msgspec.Struct):
    """Tokens as the runtime counted them; without details where it does not tell those."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens | UnsetType = UNSET


def usage(ends: Iterable[Finished], *, choices: int) -> Usage:
    """The usage of answers in their order; `choices` in a row share a prompt, counted once."""
    ends = list(ends)
    firsts = ends[::choices]
    prompt = sum(end.prompt_tokens for end in firsts)
    completion = sum(end.completion_tokens for end in ends)
    cached = [end.cached_tokens for end in firsts if end.cached_tokens is not None]
    details = CachedTokens(sum(cached)) if cached else UNSET
    return Usage(prompt, completion, prompt + completion, details)


def stops(stop: Stop | None) -> tuple[str, ...]:
    """The strings that end an answer; FieldRefused when there are too many or one is empty."""
    found = () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
    if len(found) > MAX_STOPS:
        raise FieldRefused(f"'stop' has {len(found)} strings, at most {MAX_STOPS}.", field="stop")
    if "" in found:
        raise FieldRefused("A string of 'stop' is empty.", field="stop")
    return found


def check_stream_options(options: StreamOptions | None, *, stream: bool) -> bool:
    """Whether the stream ends with its usage; FieldRefused for options that cannot be had."""
    if options is None:
        return False
    if not stream:
        raise FieldRefused(
            "'stream_options' is only for streamed answers.",
            field="stream_options",
            remedy="Set 'stream' to true, or leave it out.",
        )
    if options.include_obfuscation:
        field = "stream_options.include_obfuscation"
        raise FieldRefused(f"'{field}' is not supported by this node.", field=field)
    return bool(options.include_usage)


def seed_of(seed: int | None, choice: int) -> int | None:
    """Each choice of a seeded request has a seed of its own, the same each time."""
    return None if seed is None else seed + choice


def finite(logprob: float) -> float:
    """A log-probability JSON can say."""
    return max(logprob, LEAST_LOGPROB) if logprob == logprob else LEAST_LOGPROB


def new_id(prefix: str) -> str:
    """A name for an answer."""
    return f"{prefix}-{secrets.token_hex(12)}"


def now() -> int:
    """Unix seconds."""
    return int(time.time())


def fingerprint(info: GeneratorInfo) -> str:
    """What wrote the answer: with the same seed and fingerprint it is the same again."""
    return f"skerry-{__version__}-{info.engine}"


def failed_event(exchange: Exchange) -> Callable[[SkerryError], bytes]:
    """How a stream tells that it cannot go on."""
    return lambda error: sse_event(openai_error(error, exchange.request_id))

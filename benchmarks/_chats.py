"""Chats with an OpenAI-compatible server, streamed side by side and timed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from _load import Load

LIMIT_S = 300.0
STORY = (
    "The warranty lasts twenty four months from the date of purchase and covers parts and labour "
    "for every machine that was sold in the country. Write a long story about that, number {}."
)
_marks = count(int(time.time()) % 100_000)


@dataclass(frozen=True, slots=True)
class Told:
    """What one stream gave."""

    tokens: int
    first_s: float
    seconds: float


def prompts(streams: int) -> list[str]:
    """Prompts nobody has sent before: no server has them cached."""
    return [STORY.format(next(_marks)) for _ in range(streams)]


def chats(url: str, *, model: str, streams: int, tokens: int) -> Load:
    """All streams at once; see `as_load`."""
    return asyncio.run(_chats(url, model=model, streams=streams, tokens=tokens))


def as_load(*, tokens: int, seconds: float, firsts: Sequence[float]) -> Load:
    """A load whose requests are tokens, and whose times are those to the first token."""
    ordered = sorted(1e3 * first for first in firsts)
    return Load(
        requests=tokens,
        seconds=seconds,
        mean_ms=sum(ordered) / len(ordered),
        p50_ms=ordered[len(ordered) // 2],
        p95_ms=ordered[-1],
        p99_ms=ordered[-1],
        failed=0,
    )


@contextmanager
def chatting(url: str, *, model: str, streams: int) -> Iterator[None]:
    """Streams that go on for as long as the block."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            chats(url, model=model, streams=streams, tokens=64)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


async def _chats(url: str, *, model: str, streams: int, tokens: int) -> Load:
    async with httpx.AsyncClient(timeout=LIMIT_S, trust_env=False) as client:
        began = time.perf_counter()
        bodies = [_body(prompt, model=model, tokens=tokens) for prompt in prompts(streams)]
        told = await asyncio.gather(*(_chat(client, url, body) for body in bodies))
        seconds = time.perf_counter() - began
    made = sum(one.tokens for one in told)
    return as_load(tokens=made, seconds=seconds, firsts=[one.first_s for one in told])


def _body(prompt: str, *, model: str, tokens: int) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def _chat(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Told:
    began = time.perf_counter()
    first_s = 0.0
    tokens = 0
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            raise SystemExit(f"{url} answered {response.status_code}: {await response.aread()!r}")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if not first_s and any(c["delta"].get("content") for c in chunk["choices"]):
                first_s = time.perf_counter() - began
            if chunk.get("usage"):
                tokens = chunk["usage"]["completion_tokens"]
    if not tokens:
        raise SystemExit(f"{url} ended a stream without counting its tokens")
    return Told(tokens, first_s, time.perf_counter() - began)

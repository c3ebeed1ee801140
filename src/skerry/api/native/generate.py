"""`POST /generate`, the guide's way to continue a text."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from msgspec import Meta

from skerry.api.bodies import parse_json
from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.generation import write_all
from skerry.api.streaming import while_connected
from skerry.api.text_bodies import MAX_INT, ModelName, read_text_body
from skerry.generation.base import GenerationRequest, Sampling


class GenerateRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A prompt, and how many tokens may follow it."""

    prompt: Annotated[str, Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1, le=MAX_INT)] = 50
    model: ModelName | None = None


class GenerateAnswer(msgspec.Struct):
    """The prompt and what follows it, and the milliseconds it took."""

    generated_text: str
    latency_ms: int


async def generate(exchange: Exchange) -> Answer:
    """Always the likeliest token, until the model ends the text or `max_tokens` are written."""
    asked = parse_json(await read_text_body(exchange), GenerateRequest)
    began = time.perf_counter()
    request = GenerationRequest(
        prompt=asked.prompt, sampling=Sampling(max_tokens=asked.max_tokens, temperature=0.0)
    )
    async with while_connected(exchange), exchange.node.texts.generator(asked.model) as slots:
        (written,) = await write_all(slots, [request], exchange)
    latency_ms = round(1e3 * (time.perf_counter() - began))
    return json_answer(GenerateAnswer(asked.prompt + written.text, latency_ms))


ROUTES = [
    Route("POST", "/generate", "infer", generate, "Continue a text.",
          body="json", body_type=GenerateRequest, answers={200: GenerateAnswer},
          errors=(404, 422)),
]  # fmt: skip

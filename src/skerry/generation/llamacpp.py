"""Language models by llama.cpp, in a worker process that is started anew when it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from skerry.config import GenerationSettings
from skerry.errors import BadRequest, ContextLengthExceeded, Unprocessable
from skerry.generation.base import (
    Delta,
    Event,
    Finished,
    GenerationRequest,
    GeneratorInfo,
    Sampling,
    TokenLogprob,
)
from skerry.generation.forced_calls import held_to_calls
from skerry.generation.limits import context_of, threads_of
from skerry.generation.llamacpp_prompt import grammars_hold, prompt_tokens, tokenize
from skerry.generation.llamacpp_server import LlamaServer, refusal
from skerry.generation.openai_wire import StreamReader, is_chat, request_body
from skerry.generation.tool_calls import with_calls
from skerry.metrics import Metrics
from skerry.models.gguf import read_gguf
from skerry.models.manifest import ChatModel
from skerry.workers.kept import Kept

log = logging.getLogger(__name__)

NAME = "llamacpp"
RUNTIME_BYTES = 120 << 20
WHOLE_TEXT = (1 << 31) - 1
SPACES = "[ \\n]{0,12}"


def footprint_bytes(model: ChatModel, settings: GenerationSettings) -> int:
    """Memory of the loaded model with every slot's context full, estimated from the header."""
    header = read_gguf(model.path(model.manifest.file))
    tokens = settings.slots * context_of(model.manifest, settings=settings)
    return RUNTIME_BYTES + header.weight_bytes + tokens * header.attention.key_values * 2


class LlamaCppGenerator:
    """Implements Generator."""

    def __init__(self, model: ChatModel, *, settings: GenerationSettings, metrics: Metrics) -> None:
        manifest = model.manifest
        self._file = model.path(manifest.file)
        self._threads = threads_of(settings)
        self._metrics = metrics
        self._kept = Kept(manifest.name, kind=NAME, start=self._start, metrics=metrics)
        self._special: tuple[str, ...] = ()
        self.info = GeneratorInfo(
            model=manifest.name,
            engine=NAME,
            device="cpu",
            slots=settings.slots,
            context=context_of(manifest, settings=settings),
            chat=bool(manifest.template),
            tools=manifest.tools,
            logprobs=True,
            grammar=True,
        )

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._kept.pid

    async def open(self) -> None:
        """Load the model; ModelInvalid or ModelUnavailable say why it cannot be."""
        await self._kept.running()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """The answer as it comes; see Generator."""
        self._check(request)
        request = held_to_calls(request)
        server = await self._kept.running()
        schema = request.sampling.json_schema
        if schema is not None:
            await server.check_grammar(grammar_of(schema))
        tokens = await prompt_tokens(
            server, request, special=self._special, context=self.info.context
        )
        limit = self._limit(len(tokens), request.sampling)
        if request.tools and not request.forced:
            events = self._with_tools(server, request, limit=limit)
        else:
            events = self._continue(server, tokens, request.sampling, limit=limit)
        async with aclosing(with_calls(events) if request.forced else events) as told:
            async for event in told:
                yield event

    async def count_tokens(self, text: str) -> int:
        """Tokens of a plain text."""
        return len(await tokenize(await self._kept.running(), text, begin=False, special=False))

    async def close(self) -> None:
        """End the process; requests under way fail."""
        server = self._kept.close()
        if server is not None:
            await server.stop()

    def _check(self, request: GenerationRequest) -> None:
        if is_chat(request) and not self.info.chat:
            raise BadRequest(
                f"'{self.info.model}' has no chat template.",
                remedy="Send a prompt to /v1/completions, or use a model made for chat.",
            )
        if request.tools and not self.info.tools:
            raise BadRequest(f"The chat template of '{self.info.model}' has no place for tools.")
        has_schema = request.sampling.json_schema is not None
        if (has_schema or request.forced) and not self.info.grammar:
            raise BadRequest(
                f"llama.cpp cannot hold '{self.info.model}' to a JSON schema: its tokenizer puts "
                "a space before each text, which the grammars do not know."
            )
        if request.tools and has_schema:
            raise BadRequest("llama.cpp takes tools or a JSON schema, not both at once.")

    def _limit(self, prompt: int, sampling: Sampling) -> int:
        """Tokens the answer may have; ContextLengthExceeded when it would not fit."""
        context = self.info.context
        wanted = sampling.max_tokens
        if wanted is not None and wanted < 1:
            raise BadRequest("max_tokens is at least 1.")
        if prompt + (wanted or 1) > context:
            answer = f" and the answer up to {wanted}" if wanted else ""
            raise ContextLengthExceeded(
                f"The prompt has {prompt} tokens{answer}; the model's context has {context}.",
                remedy="Shorten the prompt, or ask for fewer tokens.",
            )
        return wanted or context - prompt

    async def _continue(
        self, server: LlamaServer, tokens: list[int], sampling: Sampling, *, limit: int
    ) -> AsyncGenerator[Event, None]:
        body = _body(sampling, limit=limit) | {"prompt": tokens}
        async with server.stream("/completion", body) as data:
            async for item in data:
                chunk = _CHUNK.decode(item)
                if bytes(chunk.error):
                    raise refusal(item)
                if chunk.content or chunk.completion_probabilities:
                    yield Delta(text=chunk.content, logprobs=_logprobs(chunk, sampling))
                if chunk.stop:
                    yield _finished(chunk)

    async def _with_tools(
        self, server: LlamaServer, request: GenerationRequest, *, limit: int
    ) -> AsyncGenerator[Event, None]:
        # Only this path of llama.cpp knows the model's own way to write a call.
        body = request_body(request, model=self.info.model)
        body |= _body(request.sampling, limit=limit) | {"reasoning_format": "none"}
        reader = StreamReader(source="llama.cpp")
        async with server.stream("/v1/chat/completions", body) as data:
            async for event in reader.events(data):
                yield event

    async def _start(self) -> LlamaServer:
        began = time.perf_counter()
        server = await self._load()
        elapsed_s = time.perf_counter() - began
        self._metrics.model_load.labels(self.info.model, "gguf").set(elapsed_s)
        log.info(
            "Loaded '%s' by llama.cpp in %.1f s: %d slots of %d tokens, %d threads, process %d.",
            *(self.info.model, elapsed_s, self.info.slots, self.info.context),
            *(self._threads, server.pid),
        )
        return server

    async def _load(self) -> LlamaServer:
        # llama.cpp trusts a file further than one may trust a download.
        header = await asyncio.to_thread(read_gguf, self._file)
        self._special = header.special_tokens
        server = await LlamaServer.start(
            self._file,
            slots=self.info.slots,
            context=self.info.context,
            threads=self._threads,
        )
        try:
            grammar = await grammars_hold(server)
        except BaseException:
            await server.stop()
            raise
        self.info = msgspec.structs.replace(self.info, grammar=grammar)
        return server


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Probability(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Top] = []


class _Timings(msgspec.Struct):
    cache_n: int = 0


class _Chunk(msgspec.Struct):
    content: str = ""
    stop: bool = False
    stop_type: str = ""
    tokens_evaluated: int = 0
    tokens_predicted: int = 0
    timings: _Timings = msgspec.field(default_factory=_Timings)
    completion_probabilities: list[_Probability] = []
    error: msgspec.Raw = msgspec.Raw()


_CHUNK = msgspec.json.Decoder(_Chunk)


def _body(sampling: Sampling, *, limit: int) -> dict[str, Any]:
    """How to sample: all of llama.cpp's own defaults that would bend the API's are off."""
    body: dict[str, Any] = {
        "stream": True,
        "n_predict": limit,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "seed": -1 if sampling.seed is None else sampling.seed % (1 << 32),
        "stop": list(sampling.stop),
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_last_n": WHOLE_TEXT,
    }
    if sampling.logprobs is not None:
        # The chosen token's own probability comes only with at least one alternative.
        body["n_probs"] = max(1, sampling.logprobs)
    if sampling.json_schema is not None:
        body["grammar"] = grammar_of(sampling.json_schema)
    return body


def grammar_of(schema: str) -> str:
    """A JSON schema as llguidance reads it; Unprocessable for what is no JSON.

    Written anew, so that it holds one JSON value and nothing else.
    """
    try:
        value = json.loads(schema)
        if isinstance(value, dict):
            # A small model can go on with spaces for ever.
            value = value | {"x-guidance": {"whitespace_pattern": SPACES}}
        return f"%llguidance {{}}\nstart: %json {json.dumps(value)}"
    except (ValueError, RecursionError) as error:
        raise Unprocessable("The JSON schema is not valid JSON.") from error


def _logprobs(chunk: _Chunk, sampling: Sampling) -> tuple[TokenLogprob, ...]:
    if sampling.logprobs is None:
        return ()
    return tuple(
        TokenLogprob(
            text=token.token,
            logprob=token.logprob,
            top=tuple((top.token, top.logprob) for top in token.top_logprobs[: sampling.logprobs]),
        )
        for token in chunk.completion_probabilities
    )


def _finished(chunk: _Chunk) -> Finished:
    return Finished(
        reason="length" if chunk.stop_type == "limit" else "stop",
        prompt_tokens=chunk.tokens_evaluated,
        completion_tokens=chunk.tokens_predicted,
        cached_tokens=chunk.timings.cache_n,
    )

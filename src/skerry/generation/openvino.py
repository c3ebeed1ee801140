"""Language models by OpenVINO GenAI, in a worker process that is started anew when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from skerry.config import GenerationSettings
from skerry.errors import BadRequest, ModelInvalid, ModelUnavailable
from skerry.generation.base import Event, GenerationRequest, GeneratorInfo, Message
from skerry.generation.forced_calls import held_to_calls
from skerry.generation.limits import context_of, threads_of
from skerry.generation.openvino_wire import (
    Count,
    Generate,
    Load,
    decode_count,
    decode_event,
    decode_loaded,
    encode,
)
from skerry.metrics import Metrics
from skerry.models.gguf import GgufHeader, read_gguf
from skerry.models.manifest import ChatModel
from skerry.workers.kept import Kept
from skerry.workers.process import Worker, WorkerSpec

log = logging.getLogger(__name__)

NAME = "openvino"
WORKER = WorkerSpec(name=NAME, module="skerry.generation.openvino_worker", gone=ModelUnavailable)
LOAD_LIMIT_S = 600.0
SILENCE_LIMIT_S = 60.0
"""A step takes at most some seconds, and the worker says that it goes on."""
COUNT_LIMIT_S = 60.0
CACHE_FOLDER = "openvino"
ARCHITECTURES = ("llama", "qwen2", "qwen3")
TOKENIZERS = ("gpt2",)
STORAGES = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q4_K", "Q6_K", "Q8_0")
RUNTIME_BYTES = 340 << 20
WEIGHTS_FACTOR = 1.6
"""Weights are kept in OpenVINO's own layout, the vocabulary's in 16 bits."""
LOGITS_BYTES = 2 * 256 * 4
"""For each token of the vocabulary, at each place of one step."""
KEY_VALUE_BYTES = 1.25
"""Of each number: a byte, and its share of a scale."""


def unreadable(header: GgufHeader) -> str:
    """Why GenAI cannot read the file; empty: it can."""
    if header.architecture not in ARCHITECTURES:
        return f"it reads no '{header.architecture}' models"
    if header.tokenizer not in TOKENIZERS:
        return f"it reads no '{header.tokenizer}' tokenisers from GGUF"
    if header.quantisation not in STORAGES:
        return f"it reads no {header.quantisation} weights"
    return ""


def footprint_bytes(model: ChatModel, settings: GenerationSettings) -> int:
    """Memory of the loaded model with every slot's context full, estimated from the header."""
    header = read_gguf(model.path(model.manifest.file))
    tokens = settings.slots * context_of(model.manifest, settings=settings)
    conversations = tokens * header.attention.key_values * KEY_VALUE_BYTES
    model_bytes = WEIGHTS_FACTOR * header.weight_bytes + LOGITS_BYTES * header.vocabulary
    return int(RUNTIME_BYTES + model_bytes + conversations)


class OpenVinoGenerator:
    """Implements Generator."""

    def __init__(self, model: ChatModel, *, settings: GenerationSettings, metrics: Metrics) -> None:
        manifest = model.manifest
        self._file = model.path(manifest.file)
        self._cache = model.folder / CACHE_FOLDER
        self._threads = threads_of(settings)
        self._metrics = metrics
        self._kept = Kept(manifest.name, kind=NAME, start=self._start, metrics=metrics)
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
        body = _encoded(held_to_calls(request))
        worker = await self._kept.running()
        stream = worker.stream(body, limit_s=SILENCE_LIMIT_S)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                yield decode_event(piece)

    async def count_tokens(self, text: str) -> int:
        """Tokens of a plain text."""
        worker = await self._kept.running()
        return decode_count(await worker.call(encode(Count(text=text)), limit_s=COUNT_LIMIT_S))

    async def close(self) -> None:
        """End the process; requests under way fail."""
        worker = self._kept.close()
        if worker is not None:
            worker.kill("was closed")  # it holds nothing that is not in the file
            await worker.gone()

    def _check(self, request: GenerationRequest) -> None:
        sampling = request.sampling
        prompt = request.prompt
        is_chat = not isinstance(prompt, str) and bool(prompt) and isinstance(prompt[0], Message)
        if is_chat and not self.info.chat:
            raise BadRequest(
                f"'{self.info.model}' has no chat template.",
                remedy="Send a prompt to /v1/completions, or use a model made for chat.",
            )
        if request.tools and not (is_chat and self.info.tools):
            raise BadRequest(f"The chat template of '{self.info.model}' has no place for tools.")
        if request.tools and sampling.json_schema is not None:
            raise BadRequest("OpenVINO takes tools or a JSON schema, not both at once.")
        if sampling.logprobs:
            raise BadRequest(
                "OpenVINO tells the log-probability of the chosen token alone: "
                "top_logprobs (logprobs of /v1/completions) can only be 0.",
                remedy='Set generation.type = "llamacpp" for the alternatives.',
            )
        if sampling.max_tokens is not None and sampling.max_tokens < 1:
            raise BadRequest("max_tokens is at least 1.")

    async def _start(self) -> Worker:
        if why := unreadable(await asyncio.to_thread(read_gguf, self._file)):
            raise ModelInvalid(
                f"OpenVINO cannot run '{self.info.model}': {why}.",
                remedy='Set generation.type = "llamacpp".',
            )
        worker = await Worker.start(WORKER)
        try:
            await self._load(worker)
        except BaseException:
            worker.kill()
            raise
        return worker

    async def _load(self, worker: Worker) -> None:
        load = Load(
            file=str(self._file),
            cache=str(self._cache),
            slots=self.info.slots,
            context=self.info.context,
            threads=self._threads,
        )
        loaded = decode_loaded(await worker.call(encode(load), limit_s=LOAD_LIMIT_S))
        self._metrics.model_load.labels(self.info.model, "gguf").set(loaded.elapsed_s)
        log.info(
            "Loaded '%s' by OpenVINO in %.1f s (tokeniser %s): %d slots of %d tokens, "
            "%d threads, process %d.",
            *(self.info.model, loaded.elapsed_s, "kept" if loaded.cached else "made"),
            *(self.info.slots, self.info.context, self._threads, worker.pid),
        )


def _encoded(request: GenerationRequest) -> bytes:
    try:
        return encode(Generate.of(request))
    except UnicodeEncodeError as error:
        raise BadRequest("A text of the request is not Unicode: it holds half a pair.") from error
    except RecursionError as error:
        raise BadRequest("The tools' parameters are nested too deeply.") from error

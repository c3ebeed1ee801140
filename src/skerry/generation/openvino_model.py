"""A GGUF model in OpenVINO GenAI: its tokens, its prompts, and answers begun in one batch."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skerry.errors import BadRequest, ContextLengthExceeded, ModelInvalid
from skerry.generation.base import Message, Sampling, Tool
from skerry.generation.openvino_grammar import GrammarCheck
from skerry.generation.openvino_runtime import genai, ov
from skerry.generation.openvino_wire import Generate, Load, Loaded
from skerry.generation.special_tokens import Breaker, cut
from skerry.models.gguf import read_gguf

BLOCK_TOKENS = 32
"""Tokens whose keys and values are kept together, on a CPU."""
BATCH_TOKENS = 256
"""Of one step: the others, and a cancellation, wait for no longer a piece of a prompt."""
SEED_BITS = 32
VERSION = genai.get_version().split("-")[0]


class Model:
    """A loaded model. RuntimeError of GenAI passes through `begin` and `step`."""

    def __init__(self, load: Load) -> None:
        began = time.perf_counter()
        header = read_gguf(Path(load.file))
        self._tokenizer, cached = _tokenizer(Path(load.file), Path(load.cache))
        self._context = load.context
        self._ends = set(header.eos_ids)
        self._silent = self._ends.union(header.command_ids)
        self._breaker = Breaker(header.special_tokens)
        self._bytes = _token_bytes(self._tokenizer, header.vocabulary)
        self._longest = max(map(len, self._bytes))
        self._pipeline = genai.ContinuousBatchingPipeline(
            load.file,
            self._tokenizer,
            _scheduler(load),
            "CPU",
            INFERENCE_NUM_THREADS=load.threads,
            # Pinned, two processes sit on the same core and halve each other.
            ENABLE_CPU_PINNING=False,
        )
        self._ids = 0
        self.grammar = GrammarCheck(self._tokenizer, vocabulary=header.vocabulary)
        self.loaded = Loaded(elapsed_s=time.perf_counter() - began, cached=cached)

    def count(self, text: str) -> int:
        """Tokens of a plain text."""
        mark = self._breaker.mark_for([text])
        pieces = cut(self._breaker.broken(text, mark), mark)
        return sum(len(self._encode(piece)) for piece in pieces)

    def prompt(self, call: Generate) -> list[int]:
        """Token ids of what is to be continued; BadRequest for one that cannot be made."""
        if call.ids is not None:
            ids = list(call.ids)
            if any(not 0 <= token < len(self._bytes) for token in ids):
                raise BadRequest(f"A token id is not within 0 to {len(self._bytes) - 1}.")
        elif call.text is not None:
            self._check_length([call.text])
            ids = self._plain(call.text, begin=True)
        else:
            ids = self._conversation(call.messages or (), call.tools)
        if not ids:
            raise BadRequest("The prompt is empty.")
        return ids

    def begin(self, prompt: Sequence[int], sampling: Sampling) -> Any:
        """A handle to the answer; ContextLengthExceeded before anything is computed."""
        config = _config(sampling, limit=self._limit(len(prompt), sampling), ends=self._ends)
        self._ids += 1
        tokens = ov.Tensor(np.array([prompt], dtype=np.int64))
        return self._pipeline.add_request(self._ids, tokens, config)

    def step(self) -> None:
        """One token for each answer under way, or a piece of a prompt. Holds the GIL."""
        self._pipeline.step()

    def text_of(self, token: int) -> bytes:
        """The bytes a token stands for; none for a command such as the end of a turn."""
        return b"" if token in self._silent else self._bytes[token]

    def _check_length(self, texts: Sequence[str]) -> None:
        """Refuse what is too long for certain before time goes into its tokens."""
        least = sum(map(len, texts)) // self._longest
        if least > self._context:
            raise self._too_long(f"more than {least}")

    def _plain(self, text: str, *, begin: bool) -> list[int]:
        mark = self._breaker.mark_for([text])
        return self._joined(cut(self._breaker.broken(text, mark), mark), begin=begin)

    def _conversation(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        self._check_length([message.content for message in messages])
        history = [_turn(message) for message in messages]
        offered = [_offer(tool) for tool in tools]
        mark = self._breaker.mark_for([*map(repr, history), *map(repr, offered)])
        history = self._breaker.broken_json(history, mark)
        offered = self._breaker.broken_json(offered, mark)
        try:
            rendered = self._tokenizer.apply_chat_template(
                history, add_generation_prompt=True, tools=offered or None
            )
        except RuntimeError as error:
            raise BadRequest(
                f"The model's chat template does not take this conversation: {_last_line(error)}"
            ) from error
        return self._joined(cut(rendered, mark), begin=False)

    def _joined(self, pieces: Sequence[str], *, begin: bool) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            ids += self._encode(piece, begin=begin and not ids)
            if len(ids) > self._context:
                raise self._too_long(f"more than {self._context}")
        return ids

    def _encode(self, piece: str, *, begin: bool = False) -> list[int]:
        encoded = self._tokenizer.encode(piece, add_special_tokens=begin)
        ids: list[int] = encoded.input_ids.data[0].tolist()
        return ids

    def _too_long(self, tokens: str) -> ContextLengthExceeded:
        return ContextLengthExceeded(
            f"The prompt has {tokens} tokens; the model's context has {self._context}.",
            remedy="Shorten the prompt, or ask for fewer tokens.",
        )

    def _limit(self, prompt: int, sampling: Sampling) -> int:
        wanted = sampling.max_tokens
        if prompt + (wanted or 1) > self._context:
            answer = f" tokens and the answer up to {wanted}" if wanted else ""
            raise self._too_long(f"{prompt}{answer}")
        return wanted or self._context - prompt


def _scheduler(load: Load) -> Any:
    config = genai.SchedulerConfig()
    config.max_num_seqs = load.slots
    config.max_num_batched_tokens = BATCH_TOKENS
    config.enable_prefix_caching = True
    # Room for every slot's whole context: none has to be computed twice for lack of it.
    config.num_kv_blocks = load.slots * (-(-load.context // BLOCK_TOKENS) + 1)
    return config


def _config(sampling: Sampling, *, limit: int, ends: set[int]) -> Any:
    config = genai.GenerationConfig()
    config.max_new_tokens = limit
    config.stop_token_ids = ends
    config.presence_penalty = sampling.presence_penalty
    config.frequency_penalty = sampling.frequency_penalty
    config.logprobs = 0 if sampling.logprobs is None else 1
    # A share of nothing holds the likeliest token alone.
    if sampling.temperature > 0 and sampling.top_p > 0:
        config.do_sample = True
        config.temperature = sampling.temperature
        config.top_p = sampling.top_p
        seed = secrets.randbits(SEED_BITS) if sampling.seed is None else sampling.seed
        config.rng_seed = seed % (1 << SEED_BITS)
    if sampling.json_schema is not None:
        config.structured_output_config = genai.StructuredOutputConfig(
            json_schema=sampling.json_schema
        )
    return config


def _tokenizer(file: Path, cache: Path) -> tuple[Any, bool]:
    """The tokeniser, and whether it came from the cache: made anew it takes seconds."""
    folder = cache / VERSION
    if folder.is_dir():
        try:
            return genai.Tokenizer(str(folder)), True
        except RuntimeError as error:
            print(f"{folder} cannot be read and is made again: {error}", file=sys.stderr)  # noqa: T201
            shutil.rmtree(folder, ignore_errors=True)
    try:
        return _made_tokenizer(file, folder), False
    except OSError as error:
        print(f"The tokeniser cannot be kept in {cache}: {error}", file=sys.stderr)  # noqa: T201
        return genai.Tokenizer(str(file)), False


def _made_tokenizer(file: Path, folder: Path) -> Any:
    """Make the tokeniser and keep it as `folder`, whole or not at all."""
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as name:
        link = Path(name) / file.name
        link.symlink_to(file.resolve())
        # GenAI writes what it makes beside the file it reads.
        tokenizer = genai.Tokenizer(str(link), enable_save_ov_model=True)
        link.unlink()
        with suppress(OSError):  # another process was first
            Path(name).rename(folder)
            Path(name).mkdir()
    return tokenizer


def _token_bytes(tokenizer: Any, size: int) -> list[bytes]:
    """What each token stands for, by its id."""
    known: list[bytes | None] = [None] * size
    for data, token in tokenizer.get_vocab().items():
        if token < size:
            known[token] = data
    # Of two tokens with the same bytes the vocabulary tells one.
    return [
        tokenizer.decode([token], skip_special_tokens=False).encode() if data is None else data
        for token, data in enumerate(known)
    ]


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _arguments(text: str) -> Any:
    """As an object, which templates write as JSON by themselves."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _offer(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    }


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why."


def refusal(error: RuntimeError, file: str) -> ModelInvalid:
    """The error for a file that GenAI does not load."""
    return ModelInvalid(
        f"OpenVINO cannot load {Path(file).name}: {_last_line(error)}",
        remedy='Set generation.type = "llamacpp".',
    )

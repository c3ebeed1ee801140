"""What runs in a llama.cpp worker: a model, served by llama.cpp itself on a Unix socket.

llama.cpp's own server threads do the work and stream over that socket; the channel to the node
carries only loading, the check of grammars, and the node's end.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xllamacpp
from llguidance import LLMatcher

from skerry.errors import ModelInvalid, ModelUnavailable, SkerryError, Unprocessable
from skerry.generation.llamacpp_wire import CheckGrammar, Load, decode_call
from skerry.workers.child import Channel
from skerry.workers.frames import Frame

NO_ANSWER = b""
LATEST_WORDS_S = 2.0
STDERR = 2
ERRORS_ONLY = 1
SHARED_BATCH = 256
"""Prompt tokens of one step: other answers wait for no longer prompt, nor does a cancel."""


class Server:
    """Answers the node's calls; the model itself is asked over the socket."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._model: xllamacpp.Server | None = None

    def run(self) -> None:
        """Serve until the node closes the channel."""
        while not self._channel.closed:
            frame = self._channel.receive(wait=True)
            if frame is not None:
                self._serve(frame)

    def _serve(self, frame: Frame) -> None:
        try:
            self._do(frame.body)
            self._channel.answer(frame.call_id, NO_ANSWER)
        except SkerryError as error:
            self._channel.fail(frame.call_id, error)
        except Exception as error:  # fail this call, keep serving the model
            traceback.print_exc()
            self._channel.fail(frame.call_id, ModelUnavailable(f"llama.cpp failed: {error}"))

    def _do(self, body: bytes) -> None:
        match decode_call(body):
            case Load() as load:
                self._model = _load(load)
            case CheckGrammar() as check:
                _check(check.grammar)


def _load(load: Load) -> xllamacpp.Server:
    params = _parameters(load)
    try:
        with _stderr_to(load.log):
            try:
                server = xllamacpp.Server(params)
            except (RuntimeError, ValueError):
                _await_words(Path(load.log))
                raise
    except (RuntimeError, ValueError) as error:
        raise ModelInvalid(f"llama.cpp cannot load {load.file}: {_reason(load.log)}") from error
    finally:
        # The server takes these signals for itself; only the node ends this process.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return server


def _parameters(load: Load) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = load.file
    params.hostnames = [load.socket]
    params.n_parallel = load.slots
    params.n_ctx = load.context * load.slots
    params.n_threads_http = load.slots + 4
    params.n_batch = params.n_ubatch = SHARED_BATCH
    params.cpuparams.n_threads = load.threads
    params.cpuparams_batch.n_threads = load.threads
    params.verbosity = ERRORS_ONLY
    # Never a smaller context than asked for, and no gigabytes of prompts kept beside it.
    params.fit_params = False
    params.cache_ram_mib = 0
    params.ui = False
    params.endpoint_slots = False
    return params


@contextmanager
def _stderr_to(file: str) -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(STDERR)
    with open(file, "wb") as log:  # noqa: PTH123  a descriptor is all that is needed
        os.dup2(log.fileno(), STDERR)
    try:
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)


def _await_words(log: Path) -> None:
    """llama.cpp writes its log in a thread of its own, which may be later than its failure."""
    until = time.monotonic() + LATEST_WORDS_S
    while log.stat().st_size == 0 and time.monotonic() < until:
        time.sleep(0.01)


def _reason(log: str) -> str:
    """What llama.cpp said first: later lines only say that this failed."""
    lines = Path(log).read_text("utf-8", "replace").splitlines()
    return lines[0].strip() if lines else "it does not say why."


def _check(grammar: str) -> None:
    # llama.cpp samples without a grammar, and says so only in its log, when this fails.
    failed, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    if failed or messages:
        raise Unprocessable(
            f"No grammar can be made of the JSON schema: {' '.join(messages).strip()}"
        )

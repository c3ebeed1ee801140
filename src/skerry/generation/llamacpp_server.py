"""One running llama.cpp: its worker process, and the HTTP it speaks on a Unix socket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import httpx
import msgspec

from skerry.errors import (
    BadRequest,
    ContextLengthExceeded,
    ModelUnavailable,
    SkerryError,
)
from skerry.generation.llamacpp_wire import Call, CheckGrammar, Load, encode
from skerry.workers.process import Worker, WorkerSpec

log = logging.getLogger(__name__)

SPEC = WorkerSpec("llamacpp", "skerry.generation.llamacpp_worker", gone=ModelUnavailable)
LOAD_LIMIT_S = 600.0
CHECK_LIMIT_S = 10.0
CONNECT_LIMIT_S = 10.0
STOP_GRACE_S = 2.0
NOTICE_S = 1.0
EVENT = "data: "


class LlamaServer:
    """A worker that has its model loaded."""

    def __init__(self, worker: Worker, folder: TemporaryDirectory[str]) -> None:
        self._worker = worker
        self._folder = folder
        # A connection each: one that is kept may be closed by the server as it is used again.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=_socket(folder), limits=limits),
            base_url="http://llamacpp",
            timeout=httpx.Timeout(None, connect=CONNECT_LIMIT_S),
        )

    @classmethod
    async def start(cls, file: Path, *, slots: int, context: int, threads: int) -> Self:
        """Start a process and load `file`; ModelInvalid, or ModelUnavailable when it dies."""
        # Only this user reaches the socket: the folder is made with mode 0700.
        folder = TemporaryDirectory(prefix="skerry-")
        load = Load(
            file=str(file),
            socket=_socket(folder),
            log=str(Path(folder.name, "load.log")),
            slots=slots,
            context=context,
            threads=threads,
        )
        worker = await Worker.start(SPEC)
        server = cls(worker, folder)
        try:
            await server._call(load, limit_s=LOAD_LIMIT_S)
        except BaseException as error:
            _log_last_words(load.log, error)
            await server.stop()
            raise
        return server

    @property
    def pid(self) -> int:
        """Of the worker process."""
        return self._worker.pid

    async def gone(self) -> str:
        """Wait until the process has ended; why it did."""
        return await self._worker.gone()

    async def check_grammar(self, grammar: str) -> None:
        """Raise Unprocessable when llama.cpp could not sample by it."""
        await self._call(CheckGrammar(grammar), limit_s=CHECK_LIMIT_S)

    async def ask(self, path: str, body: Any) -> Any:
        """POST and give the decoded answer."""
        try:
            response = await self._http.post(path, content=_encoded(body))
        except httpx.TransportError as error:
            raise await self._lost(error) from error
        if response.status_code != httpx.codes.OK:
            raise refusal(response.content)
        return response.json()

    @asynccontextmanager
    async def stream(self, path: str, body: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """POST and give the events' data as they come. Leaving the block ends the work."""
        try:
            async with self._http.stream("POST", path, content=_encoded(body)) as response:
                if response.status_code != httpx.codes.OK:
                    raise refusal(await response.aread())
                yield _events(response)
        except httpx.TransportError as error:
            raise await self._lost(error) from error

    async def stop(self) -> None:
        """End the process."""
        await self._http.aclose()
        await self._worker.stop(grace_s=STOP_GRACE_S)
        self._folder.cleanup()

    async def _call(self, call: Call, *, limit_s: float) -> None:
        await self._worker.call(encode(call), limit_s=limit_s)

    async def _lost(self, error: httpx.TransportError) -> SkerryError:
        # The connection ends a moment before the process is known to have.
        try:
            async with asyncio.timeout(NOTICE_S):
                reason = await self._worker.gone()
        except TimeoutError:
            reason = f"broke off: {error or type(error).__name__}"
        return ModelUnavailable(f"The llamacpp worker {reason}.", retry_after_s=1)


class _Refusal(msgspec.Struct):
    message: str = "llama.cpp refused the request."
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class _Refused(msgspec.Struct):
    error: _Refusal


def refusal(body: bytes) -> SkerryError:
    """The domain error in an error's body of llama.cpp."""
    try:
        told = msgspec.json.decode(body, type=_Refused).error
    except msgspec.DecodeError:
        return ModelUnavailable(f"llama.cpp answered with what is no JSON: {body[:200]!r}")
    match told.type:
        case "exceed_context_size_error":
            return ContextLengthExceeded(
                f"The prompt has {told.n_prompt_tokens} tokens; "
                f"the model's context has {told.n_ctx}."
            )
        case "invalid_request_error" | "not_supported_error":
            return BadRequest(told.message)
        case _:
            return ModelUnavailable(f"llama.cpp failed: {told.message}")


def _encoded(body: Any) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRequest("The text holds half a surrogate pair, which is no character.") from error


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    async for line in response.aiter_lines():
        if line.startswith(EVENT):
            yield line.removeprefix(EVENT).encode()


def _socket(folder: TemporaryDirectory[str]) -> str:
    return str(Path(folder.name, "llama.sock"))


def _log_last_words(file: str, error: BaseException) -> None:
    words = Path(file).read_text("utf-8", "replace").strip() if Path(file).exists() else ""
    if words:
        log.error("llama.cpp could not load: %s; it said: %s", error, words[-2000:])

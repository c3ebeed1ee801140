"""A language model on another server that speaks the OpenAI API."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx
import msgspec
from httpx_sse import EventSource

from skerry.config import GenerationSettings
from skerry.errors import (
    BadRequest,
    ConfigError,
    ContextLengthExceeded,
    ModelUnavailable,
    Overloaded,
    SkerryError,
    Unprocessable,
)
from skerry.generation.base import (
    Event,
    Finished,
    GenerationRequest,
    GeneratorInfo,
    Sampling,
)
from skerry.generation.openai_wire import StreamReader, is_chat, request_body

log = logging.getLogger(__name__)

NAME = "remote"
CONNECT_LIMIT_S = 10.0
RETRY_AFTER_S = 1.0
MAX_ERROR_CHARACTERS = 1000
BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class RemoteGenerator:
    """Implements Generator. What a model's text holds is the server's to read."""

    def __init__(self, *, settings: GenerationSettings) -> None:
        if not settings.url:
            raise ConfigError(
                "generation.type is 'remote', but generation.url is empty.",
                remedy="Set it to the base URL of the server, such as http://host:8000/v1.",
            )
        self._url = settings.url.rstrip("/")
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(settings.deadline_s, connect=CONNECT_LIMIT_S),
        )
        self.info = GeneratorInfo(
            model=settings.model,
            engine=NAME,
            device=self._url,
            slots=settings.slots,
            context=settings.context,
            chat=True,
            tools=True,
            logprobs=True,
            grammar=True,
        )

    async def open(self) -> None:
        """Ask what the server has; ModelUnavailable or ConfigError when it is of no use."""
        offered = await self._models()
        named = next((model for model in offered if model.id == self.info.model), None)
        if self.info.model and named is None:
            known = ", ".join(model.id for model in offered[:10])
            raise ConfigError(
                f"The server at {self._url} has no model '{self.info.model}'.",
                remedy=f"It has: {known}." if known else "It lists none.",
            )
        model = named or (offered[0] if offered else None)
        if model is None:
            raise ModelUnavailable(f"The server at {self._url} lists no model.")
        self.info = msgspec.structs.replace(
            self.info, model=model.id, context=self.info.context or model.context
        )
        log.info("Generation goes to '%s' at %s.", model.id, self._url)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """The answer as it comes; closing the iterator closes the connection."""
        _check(request.sampling)
        path = "/chat/completions" if is_chat(request) else "/completions"
        body = request_body(request, model=self.info.model)
        reader = StreamReader(source=f"The server at {self._url}")
        try:
            async with self._http.stream("POST", self._url + path, json=body) as response:
                await self._refuse_unless_ok(response)
                async for event in reader.events(_data(response)):
                    yield event
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    async def count_tokens(self, text: str) -> int:
        """Tokens of a plain text, as the server counts those of a prompt.

        The API has no call that only counts: this has one token generated.
        """
        request = GenerationRequest(prompt=text, sampling=Sampling(max_tokens=1))
        count = 0
        async for event in self.generate(request):
            if isinstance(event, Finished):
                count = event.prompt_tokens
        return count

    async def close(self) -> None:
        """Close the connections; requests under way fail."""
        await self._http.aclose()

    async def _models(self) -> list[_Model]:
        try:
            response = await self._http.get(f"{self._url}/models")
            await self._refuse_unless_ok(response)
            return msgspec.json.decode(response.content, type=_Models).data
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        except httpx.InvalidURL as error:
            raise ConfigError(f"generation.url cannot be used: {error}.") from error
        except msgspec.DecodeError as error:
            raise ModelUnavailable(
                f"What answers at {self._url} does not speak the OpenAI API: {error}.",
                remedy="Set generation.url to the API's base, which often ends in /v1.",
            ) from error

    async def _refuse_unless_ok(self, response: httpx.Response) -> None:
        if response.status_code != httpx.codes.OK:
            await response.aread()
            raise _error(response, where=self._url)

    def _unreachable(self, error: httpx.TransportError) -> ModelUnavailable:
        reason = str(error) or type(error).__name__
        return ModelUnavailable(
            f"The server at {self._url} cannot be reached: {reason}.",
            retry_after_s=RETRY_AFTER_S,
        )


class _Meta(msgspec.Struct):
    n_ctx: int | None = None


class _Model(msgspec.Struct):
    """A model as listed; its context stands where llama.cpp or vLLM put it, or nowhere."""

    id: str
    meta: _Meta | None = None
    max_model_len: int | None = None

    @property
    def context(self) -> int:
        """Tokens, 0 when the server does not say."""
        return self.max_model_len or (self.meta and self.meta.n_ctx) or 0


class _Models(msgspec.Struct):
    data: list[_Model]


class _Told(msgspec.Struct):
    message: str = ""
    code: str | int | None = None
    type: str | None = None


class _Failure(msgspec.Struct):
    error: _Told


def _check(sampling: Sampling) -> None:
    if sampling.json_schema is None:
        return
    try:
        msgspec.json.decode(sampling.json_schema)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unprocessable("The JSON schema is not valid JSON.") from error


async def _data(response: httpx.Response) -> AsyncIterator[bytes]:
    async for event in EventSource(response).aiter_sse():
        if event.data:
            yield event.data.encode()


def _error(response: httpx.Response, *, where: str) -> SkerryError:
    told = _told(response)
    message = f"The server at {where} answered {response.status_code}: {told.message}"
    kinds = (told.code, told.type)
    if "context_length_exceeded" in kinds or "exceed_context_size_error" in kinds:
        return ContextLengthExceeded(told.message)
    if response.status_code in BUSY:
        return Overloaded(message, retry_after_s=_retry_after_s(response))
    match response.status_code:
        case httpx.codes.BAD_REQUEST:
            return BadRequest(message)
        case httpx.codes.UNPROCESSABLE_ENTITY:
            return Unprocessable(message)
        case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
            return ModelUnavailable(message, remedy="Set generation.api_key to a key it accepts.")
        case _:
            return ModelUnavailable(message)


def _told(response: httpx.Response) -> _Told:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(response.content, type=_Failure).error
    return _Told(message=response.text[:MAX_ERROR_CHARACTERS])


def _retry_after_s(response: httpx.Response) -> float:
    """Seconds from either form of the header (RFC 9110, 10.2.3)."""
    value: Any = response.headers.get("Retry-After", "")
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    return RETRY_AFTER_S

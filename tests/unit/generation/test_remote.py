"""The remote generator against a small server that speaks the OpenAI API's recorded shapes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

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
    Delta,
    Event,
    Finished,
    GenerationRequest,
    Message,
    Sampling,
    Tool,
    ToolCall,
)
from skerry.generation.remote import RemoteGenerator

Answerer = Callable[[Request], Awaitable[Response]]
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


@dataclass
class Peer:
    """A server whose next answer a test sets, and what it was asked."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "m", "object": "model"}])
    answer: Answerer | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, request: Request) -> Response:
        self.bodies.append(await request.json() | {"path": request.url.path})
        self.keys.append(request.headers.get("authorization", ""))
        assert self.answer is not None
        return await self.answer(request)

    async def list_models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": self.models})

    def streams(self, *events: dict[str, Any] | str, done: bool = True) -> None:
        lines = [
            event if isinstance(event, str) else f"data: {json.dumps(event)}" for event in events
        ]
        text = "\n\n".join([*lines, *(["data: [DONE]"] if done else [])]) + "\n\n"

        async def answer(_: Request) -> Response:
            return Response(text, media_type="text/event-stream")

        self.answer = answer

    def refuses(self, status: int, error: dict[str, Any] | str, **headers: str) -> None:
        async def answer(_: Request) -> Response:
            if isinstance(error, str):
                return Response(error, status, headers)
            return JSONResponse({"error": error}, status, headers)

        self.answer = answer


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    routes = [
        Route("/v1/chat/completions", peer.generate, methods=["POST"]),
        Route("/v1/completions", peer.generate, methods=["POST"]),
        Route("/v1/models", peer.list_models),
    ]
    config = uvicorn.Config(Starlette(routes=routes), port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn has only this flag
        await asyncio.sleep(0.001)
    port = server.servers[0].sockets[0].getsockname()[1]
    peer.url = f"http://127.0.0.1:{port}/v1"
    yield peer
    server.should_exit = True
    await serving


@pytest_asyncio.fixture
async def remote(peer: Peer) -> AsyncIterator[RemoteGenerator]:
    remote = RemoteGenerator(
        settings=GenerationSettings(type="remote", url=peer.url, api_key="secret")
    )
    await remote.open()
    yield remote
    await remote.close()


def choice(**delta: Any) -> dict[str, Any]:
    finish = delta.pop("finish_reason", None)
    logprobs = delta.pop("logprobs", None)
    one = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return {"id": "1", "object": "chat.completion.chunk", "choices": [one]}


CHAT = (
    choice(role="assistant", content=""),
    choice(content="Hel"),
    choice(content="lo"),
    choice(finish_reason="stop"),
    {"choices": [], "usage": USAGE | {"prompt_tokens_details": {"cached_tokens": 4}}},
)


def says(content: str, *, tools: tuple[Tool, ...] = (), **sampling: Any) -> GenerationRequest:
    messages = (Message(role="user", content=content),)
    return GenerationRequest(prompt=messages, tools=tools, sampling=Sampling(**sampling))


async def told(remote: RemoteGenerator, request: GenerationRequest) -> list[Event]:
    return [event async for event in remote.generate(request)]


async def failure(remote: RemoteGenerator, request: GenerationRequest) -> SkerryError:
    with pytest.raises(SkerryError) as raised:
        await told(remote, request)
    return raised.value


async def test_a_conversation_is_sent_and_its_answer_comes_in_pieces(
    peer: Peer, remote: RemoteGenerator
) -> None:
    peer.streams(*CHAT)
    request = says(
        "Hi", max_tokens=5, temperature=0.5, top_p=0.9, seed=3, stop=("x",), presence_penalty=1.0
    )
    assert await told(remote, request) == [
        Delta(text="Hel"),
        Delta(text="lo"),
        Finished(reason="stop", prompt_tokens=9, completion_tokens=3, cached_tokens=4),
    ]
    assert peer.keys == ["Bearer secret"]
    assert peer.bodies == [
        {
            "path": "/v1/chat/completions",
            "model": "m",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 5,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 3,
            "stop": ["x"],
            "presence_penalty": 1.0,
            "frequency_penalty": 0.0,
        }
    ]


async def test_a_plain_prompt_goes_to_completions(peer: Peer, remote: RemoteGenerator) -> None:
    logprobs = {
        "tokens": [" b"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{" b": -0.5, " c": -2.0}],
        "text_offset": [1],
    }
    peer.streams(
        {"choices": [{"text": " b", "logprobs": logprobs, "finish_reason": "length"}]},
        {"choices": [], "usage": USAGE},
    )
    request = GenerationRequest(prompt="a", sampling=Sampling(logprobs=2))
    delta, end = await told(remote, request)
    assert isinstance(delta, Delta)
    assert delta.logprobs[0].top == ((" b", -0.5), (" c", -2.0))
    assert isinstance(end, Finished)
    assert end.reason == "length"
    assert peer.bodies[0]["path"] == "/v1/completions"
    assert (peer.bodies[0]["prompt"], peer.bodies[0]["logprobs"]) == ("a", 2)
    await told(remote, GenerationRequest(prompt=(1, 2), sampling=Sampling()))
    assert peer.bodies[1]["prompt"] == [1, 2]


async def test_calls_of_tools_are_put_together(peer: Peer, remote: RemoteGenerator) -> None:
    def call(**part: Any) -> dict[str, Any]:
        return choice(tool_calls=[{"index": 0, **part}])

    peer.streams(
        call(id="call_1", type="function", function={"name": "weather", "arguments": ""}),
        call(function={"arguments": '{"place":'}),
        call(function={"arguments": ' "Rome"}'}),
        choice(finish_reason="tool_calls"),
        {"choices": [], "usage": USAGE},
    )
    (end,) = await told(remote, says("Hi", tools=(Tool(name="weather"),)))
    assert isinstance(end, Finished)
    assert end.reason == "tool_calls"
    arguments = '{"place": "Rome"}'
    assert end.tool_calls == (ToolCall(id="call_1", name="weather", arguments=arguments),)
    assert peer.bodies[0]["tools"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize(
    ("forced", "choice_sent"),
    [
        ((), None),
        (("f",), {"type": "function", "function": {"name": "f"}}),
        (("f", "g"), "required"),
    ],
)
async def test_forced_calls_are_left_to_the_server(
    peer: Peer, remote: RemoteGenerator, forced: tuple[str, ...], choice_sent: Any
) -> None:
    peer.streams(choice(finish_reason="stop"), {"choices": [], "usage": USAGE})
    asked = says("Hi", tools=(Tool(name="f"), Tool(name="g")))
    asked = msgspec.structs.replace(asked, forced=forced, parallel_calls=not forced)
    await told(remote, asked)
    (body,) = peer.bodies
    assert body.get("tool_choice") == choice_sent
    assert body.get("parallel_tool_calls") == (False if forced else None)
    assert len(body["tools"]) == 2
    assert "response_format" not in body


async def test_log_probabilities_and_schema_are_asked_for(
    peer: Peer, remote: RemoteGenerator
) -> None:
    token = {"token": "H", "logprob": -0.1, "bytes": [72]}
    token["top_logprobs"] = [{"token": "H", "logprob": -0.1, "bytes": [72]}]
    told_tokens = {"content": [token], "refusal": None}
    peer.streams(choice(content="H", logprobs=told_tokens, finish_reason="stop"), CHAT[-1])
    delta, _ = await told(remote, says("Hi", logprobs=1, json_schema='{"type":"object"}'))
    assert isinstance(delta, Delta)
    assert (delta.logprobs[0].logprob, delta.logprobs[0].top) == (-0.1, (("H", -0.1),))
    body = peer.bodies[0]
    assert (body["logprobs"], body["top_logprobs"]) == (True, 1)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert isinstance(await failure(remote, says("Hi", json_schema="{")), Unprocessable)


async def test_comments_in_the_stream_are_skipped(peer: Peer, remote: RemoteGenerator) -> None:
    peer.streams(": ping", *CHAT)
    assert len(await told(remote, says("Hi"))) == 3


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "no", "code": "context_length_exceeded"}, ContextLengthExceeded),
        (400, {"message": "no", "type": "exceed_context_size_error"}, ContextLengthExceeded),
        (400, {"message": "no such field", "type": "invalid_request_error"}, BadRequest),
        (401, {"message": "wrong key"}, ModelUnavailable),
        (404, {"message": "no such model"}, ModelUnavailable),
        (422, {"message": "schema"}, Unprocessable),
        (500, "<html>oops</html>", ModelUnavailable),
    ],
)
async def test_its_errors_become_ours(
    peer: Peer, remote: RemoteGenerator, status: int, error: Any, kind: type[SkerryError]
) -> None:
    peer.refuses(status, error)
    raised = await failure(remote, says("Hi"))
    assert type(raised) is kind
    assert (error if isinstance(error, str) else error["message"]) in raised.message


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_servers_wait_is_passed_on(
    peer: Peer, remote: RemoteGenerator, status: int
) -> None:
    peer.refuses(status, {"message": "busy"}, **{"Retry-After": "7"})
    raised = await failure(remote, says("Hi"))
    assert isinstance(raised, Overloaded)
    assert raised.retry_after_s == 7
    peer.refuses(status, "busy", **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    assert (await failure(remote, says("Hi"))).retry_after_s == 0
    peer.refuses(status, "busy")
    assert (await failure(remote, says("Hi"))).retry_after_s


@pytest.mark.parametrize(
    "events",
    [
        CHAT[:2],
        CHAT[:4],
        ({"error": {"message": "out of memory"}},),
        ("data: {no json",),
        ('data: {"choices": 3}',),
    ],
)
async def test_a_stream_that_breaks_off_is_no_answer(
    peer: Peer, remote: RemoteGenerator, events: tuple[Any, ...]
) -> None:
    peer.streams(*events, done=False)
    assert isinstance(await failure(remote, says("Hi")), ModelUnavailable)


async def test_leaving_closes_the_connection(peer: Peer, remote: RemoteGenerator) -> None:
    async def endless(_: Request) -> Response:
        async def lines() -> AsyncIterator[str]:
            try:
                while True:
                    yield f"data: {json.dumps(choice(content='x'))}\n\n"
                    await asyncio.sleep(0.001)
            finally:
                peer.left.set()

        return StreamingResponse(lines(), media_type="text/event-stream")

    peer.answer = endless
    async with aclosing(remote.generate(says("Hi"))) as events:
        await anext(events)
    async with asyncio.timeout(10):
        await peer.left.wait()


async def test_a_server_that_is_away_is_unavailable(peer: Peer) -> None:
    settings = GenerationSettings(type="remote", url="http://127.0.0.1:1/v1")
    remote = RemoteGenerator(settings=settings)
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        await remote.open()
    assert isinstance(await failure(remote, says("Hi")), ModelUnavailable)
    await remote.close()


async def test_the_model_is_the_named_one_or_the_first(peer: Peer) -> None:
    peer.models = [{"id": "a"}, {"id": "b", "max_model_len": 4096}]

    async def opened(model: str) -> RemoteGenerator:
        settings = GenerationSettings(type="remote", url=peer.url, model=model)
        remote = RemoteGenerator(settings=settings)
        try:
            await remote.open()
        finally:
            await remote.close()
        return remote

    assert (await opened("")).info.model == "a"
    named = (await opened("b")).info
    assert (named.model, named.context) == ("b", 4096)
    with pytest.raises(ConfigError, match="no model 'c'") as refused:
        await opened("c")
    assert "a, b" in refused.value.remedy


async def test_tokens_are_counted_by_the_server(peer: Peer, remote: RemoteGenerator) -> None:
    peer.streams(
        {"choices": [{"text": "x", "finish_reason": "length"}]}, {"choices": [], "usage": USAGE}
    )
    assert await remote.count_tokens("some text") == 9
    assert peer.bodies[0]["max_tokens"] == 1


@pytest.mark.parametrize("url", ["http://", "ftp://x/v1", "no url"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    remote = RemoteGenerator(settings=GenerationSettings(type="remote", url=url))
    with pytest.raises((ConfigError, ModelUnavailable)):
        await remote.open()
    await remote.close()

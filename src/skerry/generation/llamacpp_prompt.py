"""From a request to the token ids that llama.cpp continues; content of messages stays text."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from typing import Any

from skerry.errors import BadRequest, ContextLengthExceeded
from skerry.generation.base import GenerationRequest, Message, Tool
from skerry.generation.llamacpp_server import LlamaServer
from skerry.generation.openai_wire import message_body, tool_body

LONGEST_TOKEN = 256
"""Characters; no tokenizer has longer ones."""
SPACES = re.compile(r"\A(\s*)(.*?)(\s*)\Z", re.DOTALL)


async def prompt_tokens(
    server: LlamaServer, request: GenerationRequest, *, special: Sequence[str], context: int
) -> list[int]:
    """Token ids of the prompt; `special` are all tokens that text must not become.

    BadRequest for a prompt that cannot be made, ContextLengthExceeded for one so long that its
    tokens need not be counted.
    """
    _check_length(request.prompt, context=context)
    match request.prompt:
        case "" | ():
            tokens = []
        case str() as text:
            tokens = await tokenize(server, text, begin=True, special=False)
        case (int(), *_) as ids:
            tokens = list(ids)  # type: ignore[arg-type]
        case messages:
            tokens = await _conversation(server, messages, tools=request.tools, special=special)  # type: ignore[arg-type]
    if not tokens:
        raise BadRequest("The prompt is empty.")
    return tokens


async def tokenize(server: LlamaServer, text: str, *, begin: bool, special: bool) -> list[int]:
    """Ids of a text; `begin` adds what a prompt begins with, `special` reads special tokens."""
    body = {"content": text, "add_special": begin, "parse_special": special}
    tokens: list[int] = (await server.ask("/tokenize", body))["tokens"]
    return tokens


def _check_length(prompt: object, *, context: int) -> None:
    texts = [prompt] if isinstance(prompt, str) else [getattr(m, "content", "") for m in prompt]  # type: ignore[attr-defined]
    characters = sum(map(len, texts))
    if characters > context * LONGEST_TOKEN:
        raise ContextLengthExceeded(
            f"The prompt has {characters} characters, more than {context} tokens can have, "
            "which is the model's context."
        )


async def grammars_hold(server: LlamaServer) -> bool:
    """Whether grammars see the text as it is.

    llama.cpp reads each token by itself for them, and where the tokenizer puts a space before
    every text it then loses the spaces that tokens begin with (Llama 2, Mistral).
    """
    body = {"content": "a", "add_special": False, "with_pieces": True}
    pieces = (await server.ask("/tokenize", body))["tokens"]
    return not str(pieces[0]["piece"]).startswith(" ")


async def _conversation(
    server: LlamaServer,
    messages: Sequence[Message],
    *,
    tools: Sequence[Tool],
    special: Sequence[str],
) -> list[int]:
    text = _texts(messages, tools=tools)
    if not any(token in text for token in special) or not await _is_read_as_special(server, text):
        rendered = await _render(server, messages, tools=tools)
        return await tokenize(server, rendered, begin=True, special=True)
    if tools or any(message.tool_calls for message in messages):
        raise BadRequest(
            "A special token of the model stands in the text of a conversation with tools, "
            "which llama.cpp cannot keep as text.",
            remedy="Take the special token out, or send the request without tools.",
        )
    return await _in_parts(server, messages)


async def _render(
    server: LlamaServer, messages: Sequence[Message], *, tools: Sequence[Tool]
) -> str:
    body: dict[str, Any] = {"messages": [message_body(message) for message in messages]}
    if tools:
        body["tools"] = [tool_body(tool) for tool in tools]
    rendered: str = (await server.ask("/apply-template", body))["prompt"]
    return rendered


def _texts(messages: Sequence[Message], *, tools: Sequence[Tool]) -> str:
    """All that somebody wrote."""
    texts = [message.content for message in messages]
    texts += [call.arguments + call.name for message in messages for call in message.tool_calls]
    texts += [f"{tool.name} {tool.description} {tool.parameters}" for tool in tools]
    return "\n".join(texts)


async def _is_read_as_special(server: LlamaServer, text: str) -> bool:
    plain, special = await asyncio.gather(
        tokenize(server, text, begin=False, special=False),
        tokenize(server, text, begin=False, special=True),
    )
    return plain != special


async def _in_parts(server: LlamaServer, messages: Sequence[Message]) -> list[int]:
    """Render with marks for the contents; only what stands between them may hold specials."""
    mark = f"x{secrets.token_hex(8)}x"
    marked = [
        Message(
            role=message.role,
            content=_marked(message.content, f"{mark}{place}y"),
            tool_call_id=message.tool_call_id,
        )
        for place, message in enumerate(messages)
    ]
    rendered = await _render(server, marked, tools=())
    pieces = re.split(rf"{mark}(\d+)y", rendered)
    if any(mark in piece for piece in pieces):
        raise BadRequest("The model's chat template changes a message that has a special token.")
    tokens: list[int] = []
    for index, piece in enumerate(pieces):
        is_content = index % 2 == 1
        text = _split(messages[int(piece)].content)[1] if is_content else piece
        tokens += await tokenize(server, text, begin=index == 0, special=not is_content)
    return tokens


def _marked(content: str, mark: str) -> str:
    """The mark in place of the text; spaces around it stay, for the template to keep or cut."""
    before, text, after = _split(content)
    return before + (mark if text else "") + after


def _split(content: str) -> tuple[str, str, str]:
    """Spaces before, text, spaces after."""
    parts = SPACES.match(content)
    assert parts is not None
    return parts[1], parts[2], parts[3]

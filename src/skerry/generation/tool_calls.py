"""Read the calls of tools out of what a model writes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from skerry.generation.base import Delta, Event, Finished, TokenLogprob, ToolCall
from skerry.generation.text_stream import held_back

BEGIN, END = "<tool_call>", "</tool_call>"


class ToolCallReader:
    """Lets text through, and keeps calls of tools.

    Known are the two ways of the models that can be read here: JSON between `<tool_call>` and
    `</tool_call>` (Qwen, Hermes), and an answer that is JSON as a whole (Llama 3). What turns out
    to be no call is given as text. Of a `single` call, what comes after it is dropped.
    """

    def __init__(self, *, single: bool = False) -> None:
        self._single = single
        self._held = ""
        self._begun = False

    @property
    def full(self) -> bool:
        """Whether nothing that comes would be kept."""
        return self._single and END in self._held

    def feed(self, text: str) -> str:
        """The text that is certainly no call."""
        text = self._held + text
        if not self._begun and text.lstrip().startswith("{"):
            self._held = text
            return ""
        if text.strip():
            self._begun = True
        at = text.find(BEGIN)
        keep = at if at >= 0 else len(text) - held_back(text, [BEGIN])
        self._held = text[keep:]
        return text[:keep]

    def finish(self) -> tuple[str, tuple[ToolCall, ...]]:
        """What is left as text, and the calls."""
        held, self._held = self._held, ""
        if BEGIN not in held:
            call = _call(held)
            return ("", (call,)) if call else (held, ())
        calls, rest = [], ""
        for index, piece in enumerate(held.split(BEGIN)):
            body, _, after = piece.partition(END)
            call = _call(body) if index else None
            if call:
                calls.append(call)
                if self._single:
                    break
                rest += after if after.strip() else ""
            else:
                rest += (BEGIN if index else "") + piece
        return rest, tuple(calls)


async def with_calls(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The events of an answer that is a call: its text is read, and told by the last of them."""
    reader = ToolCallReader(single=True)
    logprobs: list[TokenLogprob] = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                rest, calls = reader.finish()
                if rest or logprobs:
                    yield Delta(text=rest, logprobs=tuple(logprobs))
                yield called(event, calls)
                return
            logprobs += event.logprobs
            if text := reader.feed(event.text):
                yield Delta(text=text, logprobs=tuple(logprobs))
                logprobs = []


def called(end: Finished, calls: tuple[ToolCall, ...]) -> Finished:
    """The end of an answer in which these calls were read."""
    reason = "tool_calls" if calls else end.reason
    return msgspec.structs.replace(end, reason=reason, tool_calls=calls)


def _call(text: str) -> ToolCall | None:
    try:
        said: Any = msgspec.json.decode(text.strip())
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("name"), str):
        return None
    arguments = said.get("arguments", said.get("parameters", {}))
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    return ToolCall(id=f"call_{secrets.token_hex(12)}", name=said["name"], arguments=arguments)

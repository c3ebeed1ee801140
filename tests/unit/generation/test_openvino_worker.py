"""An answer in the OpenVINO worker ends where its client asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from skerry.generation.base import Sampling, Tool
from skerry.generation.openvino_runtime import genai
from skerry.generation.openvino_wire import Generate
from skerry.generation.openvino_worker import Answer

SAID = '<tool_call>{"name": "f"}</tool_call> <tool_call>{"name": "g"}</tool_call>'


class Runtime:
    """Says its text a letter a step, and would go on; it is the handle and the model."""

    def __init__(self, text: str) -> None:
        self._left = list(text)
        self._ready: list[str] = []

    def step(self) -> None:
        self._ready.append(self._left.pop(0))

    def can_read(self) -> bool:
        return bool(self._ready)

    def read(self) -> dict[int, Any]:
        ids = [ord(self._ready.pop(0))]
        none = genai.GenerationFinishReason.NONE
        return {
            0: SimpleNamespace(generated_ids=ids, generated_log_probs=[0.0], finish_reason=none)
        }

    def get_status(self) -> Any:
        return genai.GenerationStatus.RUNNING

    def text_of(self, token: int) -> bytes:
        return chr(token).encode()


@pytest.mark.parametrize(
    ("parallel", "names", "tokens"), [(False, ["f"], 36), (True, ["f", "g"], 73)]
)
def test_one_call_ends_an_answer_that_may_hold_one(
    parallel: bool, names: list[str], tokens: int
) -> None:
    runtime: Any = Runtime(SAID)
    call = Generate(text="", tools=(Tool(name="f"),), parallel_calls=parallel, sampling=Sampling())
    answer = Answer(1, call, runtime, prompt_tokens=1)
    for _ in SAID:
        runtime.step()
        assert answer.take(runtime) is None or parallel
        if answer.done:
            break
    _, finished = answer.end()
    assert [one.name for one in finished.tool_calls] == names
    assert (finished.reason, finished.completion_tokens) == ("tool_calls", tokens)

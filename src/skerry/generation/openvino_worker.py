"""The process that holds OpenVINO GenAI: takes calls, and steps all answers on together."""

from __future__ import annotations

import time
import traceback
from typing import Any

from skerry.errors import BadRequest, ModelUnavailable, SkerryError
from skerry.generation.base import Delta, Finished, FinishReason, TokenLogprob, ToolCall
from skerry.generation.openvino_model import Model, refusal
from skerry.generation.openvino_runtime import genai
from skerry.generation.openvino_wire import Count, Generate, Load, decode_call, encode
from skerry.generation.text_stream import TextStream
from skerry.generation.tool_calls import ToolCallReader
from skerry.workers.child import Channel, open_channel
from skerry.workers.frames import CANCEL, Frame
from skerry.workers.priority import give_way

HEARTBEAT_S = 2.0
"""An answer that has nothing to say for so long says that work goes on."""
NOTHING = b""


class Answer:
    """One answer under way: its tokens in, text and log-probabilities out."""

    def __init__(self, call_id: int, call: Generate, handle: Any, *, prompt_tokens: int) -> None:
        self.call_id = call_id
        self.handle = handle
        self.tokens = 0
        self.heard_at = time.monotonic()
        self._prompt_tokens = prompt_tokens
        self._text = TextStream(call.sampling.stop)
        self._tools = ToolCallReader(single=not call.parallel_calls) if call.tools else None
        self._wants_logprobs = call.sampling.logprobs is not None
        self._logprobs: list[TokenLogprob] = []
        self._reason: FinishReason = "length"

    def take(self, model: Model) -> Delta | None:
        """What the runtime has ready, as the next text, if there is any."""
        text = ""
        while self.handle.can_read() and not self._text.stopped:
            for output in self.handle.read().values():
                if output.finish_reason == genai.GenerationFinishReason.STOP:
                    self._reason = "stop"
                for token, logprob in zip(
                    output.generated_ids, output.generated_log_probs, strict=True
                ):
                    text += self._add(model.text_of(token), logprob)
        return self._delta(text)

    @property
    def done(self) -> bool:
        """Whether no more text comes."""
        called = self._tools is not None and self._tools.full
        return (
            self._text.stopped
            or called
            or (
                self.handle.get_status() != genai.GenerationStatus.RUNNING
                and not self.handle.can_read()
            )
        )

    def end(self) -> tuple[Delta | None, Finished]:
        """The text that was held back, and the end; ModelUnavailable when it got no memory."""
        if self.handle.get_status() == genai.GenerationStatus.IGNORED:
            raise ModelUnavailable("The model has no memory left for this answer.")
        if self._text.stopped:
            self._reason = "stop"
        calls: tuple[ToolCall, ...] = ()
        rest = self._visible(self._text.finish())
        if self._tools is not None:
            held, calls = self._tools.finish()
            rest += held
        if self._text.stopped:
            self._logprobs.clear()
        finished = Finished(
            reason="tool_calls" if calls else self._reason,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self.tokens,
            tool_calls=calls,
        )
        delta = Delta(text=rest, logprobs=tuple(self._logprobs))
        return (delta if rest or self._logprobs else None), finished

    def _add(self, data: bytes, logprob: float) -> str:
        self.tokens += 1
        if self._wants_logprobs and data:
            said = data.decode("utf-8", "replace")
            self._logprobs.append(TokenLogprob(text=said, logprob=logprob))
        return self._visible(self._text.feed(data))

    def _visible(self, text: str) -> str:
        return self._tools.feed(text) if self._tools is not None and text else text

    def _delta(self, text: str) -> Delta | None:
        if not text:
            return None
        logprobs, self._logprobs = tuple(self._logprobs), []
        return Delta(text=text, logprobs=logprobs)


class Server:
    """Takes calls between steps; each step moves every answer under way on by a token."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._model: Model | None = None
        self._answers: dict[int, Answer] = {}

    def run(self) -> None:
        """Serve until the node closes the channel."""
        while not self._channel.closed:
            frame = self._channel.receive(wait=not self._answers)
            if frame is not None:
                self._serve(frame)
            elif self._answers:
                self._step()

    def _serve(self, frame: Frame) -> None:
        if frame.kind == CANCEL:
            self._cancel(frame.call_id)
            return
        try:
            self._do(frame.call_id, frame.body)
        except SkerryError as error:
            self._channel.fail(frame.call_id, error)
        except Exception as error:  # fail this call, keep serving the others
            traceback.print_exc()
            self._channel.fail(frame.call_id, ModelUnavailable(f"OpenVINO failed: {error}"))

    def _do(self, call_id: int, body: bytes) -> None:
        match decode_call(body):
            case Load() as load:
                try:
                    self._model = Model(load)
                except RuntimeError as error:
                    raise refusal(error, load.file) from error
                self._channel.answer(call_id, encode(self._model.loaded))
            case Count(text=text):
                self._channel.answer(call_id, encode(self._loaded().count(text)))
            case Generate() as call:
                self._begin(call_id, call)

    def _begin(self, call_id: int, call: Generate) -> None:
        model = self._loaded()
        if call.sampling.json_schema is not None:
            model.grammar.check(call.sampling.json_schema)
        prompt = model.prompt(call)
        try:
            handle = model.begin(prompt, call.sampling)
        except RuntimeError as error:
            raise BadRequest(f"OpenVINO does not take this request: {error}") from error
        self._answers[call_id] = Answer(call_id, call, handle, prompt_tokens=len(prompt))

    def _cancel(self, call_id: int) -> None:
        answer = self._answers.pop(call_id, None)
        if answer is not None:
            answer.handle.cancel()
            self._channel.answer(call_id, NOTHING)

    def _step(self) -> None:
        model = self._loaded()
        # An error here ends the process: GenAI cannot go on after one in the middle of a step.
        model.step()
        for answer in list(self._answers.values()):
            self._tell(answer, model)

    def _tell(self, answer: Answer, model: Model) -> None:
        delta = answer.take(model)
        now = time.monotonic()
        if delta is not None:
            self._channel.part(answer.call_id, encode(delta))
            answer.heard_at = now
        elif now - answer.heard_at > HEARTBEAT_S:
            self._channel.part(answer.call_id, NOTHING)
            answer.heard_at = now
        if answer.done:
            self._end(answer)

    def _end(self, answer: Answer) -> None:
        del self._answers[answer.call_id]
        answer.handle.cancel()
        try:
            delta, finished = answer.end()
        except SkerryError as error:
            self._channel.fail(answer.call_id, error)
            return
        if delta is not None:
            self._channel.part(answer.call_id, encode(delta))
        self._channel.answer(answer.call_id, encode(finished))

    def _loaded(self) -> Model:
        if self._model is None:
            raise ModelUnavailable("The OpenVINO worker has no model loaded.")
        return self._model


def main() -> None:
    """Run as a worker."""
    channel = open_channel()
    give_way()
    Server(channel).run()


if __name__ == "__main__":
    main()

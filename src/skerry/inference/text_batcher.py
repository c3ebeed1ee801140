"""Join the texts of concurrent callers into an encoder's calls: bounded, fair, drained on close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from skerry.errors import DeadlineExceeded, Overloaded, ServiceUnavailable
from skerry.inference.encoder import Encoded, Encoder, EncoderOutput
from skerry.inference.text_queue import Piece, Request, compose, padded
from skerry.metrics import Metrics

log = logging.getLogger(__name__)

CALL_TOKENS = 512
"""Padded tokens of one call. A text costs the same processor time in calls of 128 to 6400 tokens
(AVX2), and larger ones keep images and small requests waiting."""
SMALLEST_CALL_TOKENS = 128
"""Work is shared between idle streams in calls no smaller than this."""
FIRST_GUESS_TOKENS_PER_S = 5000.0
NEWEST_WEIGHS = 0.1
TELLING_SHARE = 0.25
"""Of a full call: a smaller one is mostly the cost of calling, and says little of many tokens."""
MIN_RETRY_AFTER_S = 0.1
HOPELESS = 2.0
"""A request is refused at once when alone it would take so many times the time it has."""


class TextBatcher:
    """Feeds an encoder from the requests of at most `queue` waiting callers.

    Texts of like length go together, up to `call_tokens` padded tokens a call; as many calls run
    side by side as the encoder has streams. A large request is worked off in many calls, which
    others share: who was served least is next.

    `threads` are shared with other work on the same cores, and stay open at `close`; without
    them the encoder's calls have threads of their own.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        metrics: Metrics,
        queue: int,
        pad_id: int = 0,
        call_tokens: int = CALL_TOKENS,
        threads: Executor | None = None,
    ) -> None:
        self.encoder = encoder
        self._limit = queue
        self._pad_id = pad_id
        self._call_tokens = call_tokens
        self._waiting: list[Request] = []
        self._admitted = 0
        self._running = 0
        self._turn = 0.0
        self._tokens_per_s = FIRST_GUESS_TOKENS_PER_S
        self._measured = False
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._own = None if threads else ThreadPoolExecutor(encoder.streams, "encoder")
        self._threads = threads or self._own
        name = encoder.info.model
        self._depth = metrics.queue_depth.labels(name)
        self._batch_size = metrics.batch_size.labels(name)
        self._duration = metrics.inference_duration.labels(name)
        self._refused = {
            reason: metrics.refused.labels(name, reason)
            for reason in ("queue_full", "deadline", "closing")
        }

    async def submit(self, texts: Sequence[Sequence[int]], *, deadline: float) -> Encoded:
        """Run texts given as token ids before `deadline` (`loop.time()` seconds).

        Raises Overloaded when too many callers wait already, DeadlineExceeded when the time has
        passed or cannot suffice, and ServiceUnavailable once closing. The texts of a caller who
        gave up leave the queue; those in a call end with it.
        """
        loop = asyncio.get_running_loop()
        request = Request(
            texts, width=self.encoder.width, turn=self._least_turn(), since=loop.time()
        )
        if not request.waits:
            return request.encoded(ended=request.since)
        self._admit(request, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                return await request.answer
        except TimeoutError as error:
            if request.waits:
                self._refused["deadline"].inc()
            raise DeadlineExceeded(
                "The model did not answer within the request's deadline.",
                retry_after_s=self.retry_after_s(),
            ) from error
        finally:
            self._leave(request)

    def retry_after_s(self) -> float:
        """Time in which the queue, as it stands, should be worked off."""
        tokens = sum(request.tokens for request in self._waiting)
        return max(MIN_RETRY_AFTER_S, tokens / self._tokens_per_s)

    async def close(self) -> None:
        """Refuse new work, finish what was admitted."""
        self._closing = True
        await self._idle.wait()
        if self._own is not None:
            self._own.shutdown(wait=False)

    def _admit(self, request: Request, deadline: float) -> None:
        if self._closing:
            self._refused["closing"].inc()
            raise ServiceUnavailable("The node is shutting down.", retry_after_s=1.0)
        left_s = deadline - request.since
        if left_s <= 0:
            self._refused["deadline"].inc()
            raise DeadlineExceeded("The request's deadline passed before the model could start.")
        if self._running >= self.encoder.streams and len(self._waiting) >= self._limit:
            self._refused["queue_full"].inc()
            raise Overloaded(
                f"{len(self._waiting)} requests already wait for the model.",
                retry_after_s=self.retry_after_s(),
            )
        needed_s = request.tokens / self._tokens_per_s
        if self._measured and needed_s > HOPELESS * left_s:
            self._refused["deadline"].inc()
            raise DeadlineExceeded(
                f"{request.tokens} tokens take about {needed_s:.0f} s here; the deadline leaves "
                f"{left_s:.0f} s.",
                remedy="Send fewer texts in one call, or raise limits.deadline_s.",
            )
        self._waiting.append(request)
        self._admitted += 1
        self._depth.inc()
        self._idle.clear()
        self._start_calls()

    def _least_turn(self) -> float:
        """Where a newcomer begins: level with who was served least, so not ahead of them for ever.

        While nobody waits the scale stands still where it was.
        """
        self._turn = min((request.turn for request in self._waiting), default=self._turn)
        return self._turn

    def _leave(self, request: Request) -> None:
        if request in self._waiting:
            self._waiting.remove(request)
        request.drop()
        self._admitted -= 1
        self._depth.dec()
        self._note_idle()

    def _start_calls(self) -> None:
        while self._waiting and self._running < self.encoder.streams:
            pieces = compose(self._waiting, tokens=self._tokens_now())
            self._waiting = [request for request in self._waiting if request.waits]
            self._start(pieces)

    def _tokens_now(self) -> int:
        """A call's tokens: a part of what waits, when idle streams can share it."""
        free = self.encoder.streams - self._running
        part = sum(request.tokens for request in self._waiting) // free
        return min(self._call_tokens, max(SMALLEST_CALL_TOKENS, part))

    def _start(self, pieces: list[Piece]) -> None:
        self._running += 1
        self._batch_size.observe(len(pieces))
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._threads, self._run, pieces)
        call.add_done_callback(lambda done: self._finish(pieces, done))

    def _run(self, pieces: list[Piece]) -> EncoderOutput:
        return self.encoder.run(padded(pieces, pad_id=self._pad_id))

    def _finish(self, pieces: list[Piece], call: asyncio.Future[EncoderOutput]) -> None:
        self._running -= 1
        if call.cancelled():  # the event loop is being torn down
            return
        error = call.exception()
        if error is None:
            self._answer(pieces, call.result())
        else:
            self._fail(pieces, error)
        self._start_calls()
        self._note_idle()

    def _answer(self, pieces: list[Piece], output: EncoderOutput) -> None:
        ended = asyncio.get_running_loop().time()
        self._duration.observe(output.elapsed_s)
        self._note_rate(sum(len(piece.ids) for piece in pieces), output.elapsed_s)
        for request in {piece.request for piece in pieces}:
            request.inference_s += output.elapsed_s
        for piece, values in zip(pieces, output.values, strict=True):
            request = piece.request
            if request.put(piece.at, values) and not request.answer.done():
                request.answer.set_result(request.encoded(ended=ended))

    def _fail(self, pieces: list[Piece], error: BaseException) -> None:
        log.error("encoder call of %d texts failed: %s", len(pieces), error)
        for request in {piece.request for piece in pieces}:
            request.drop()
            if not request.answer.done():
                request.answer.set_exception(error)
        self._waiting = [request for request in self._waiting if request.waits]

    def _note_rate(self, tokens: int, elapsed_s: float) -> None:
        if tokens < TELLING_SHARE * self._call_tokens:
            return
        rate = self.encoder.streams * tokens / max(elapsed_s, 1e-6)
        weight = NEWEST_WEIGHS if self._measured else 1.0
        self._tokens_per_s += weight * (rate - self._tokens_per_s)
        self._measured = True

    def _note_idle(self) -> None:
        if self._admitted == 0 and self._running == 0:
            self._idle.set()

"""The process that holds the vector engine: one loop of read a call, do it, answer."""

from __future__ import annotations

import traceback
from collections import deque
from pathlib import Path

from skerry.errors import IndexUnavailable, Overloaded, SkerryError
from skerry.vectors.files import copy_tree, sync_tree
from skerry.vectors.shard import Shard, SlicedSearch, open_shard
from skerry.vectors.wire import (
    Apply,
    Build,
    Call,
    Close,
    Copy,
    Flush,
    Open,
    Opened,
    Search,
    Status,
    decode_call,
    encode,
)
from skerry.workers.child import Channel, open_channel
from skerry.workers.frames import Frame
from skerry.workers.priority import give_way

MAX_THOROUGH = 16
CALLS_A_TURN = 16
NO_ANSWER = b""


class Server:
    """Answers calls in order, but takes a thorough search a slice at a time between the others."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._shard: Shard | None = None
        self._thorough: deque[tuple[int, SlicedSearch]] = deque()

    def run(self) -> None:
        """Serve until the node closes the channel."""
        while not self._channel.closed:
            self._take_calls()
            if self._thorough:
                self._advance()

    def _take_calls(self) -> None:
        # A bounded turn: a flood of short searches must not starve a thorough one.
        for _ in range(CALLS_A_TURN):
            frame = self._channel.receive(wait=not self._thorough)
            if frame is None:
                return
            self._serve(frame)

    def _serve(self, frame: Frame) -> None:
        call = decode_call(frame.body)
        try:
            if isinstance(call, Search) and call.thorough and self._begin(frame.call_id, call):
                return
            self._channel.answer(frame.call_id, self._answer(call))
        except SkerryError as error:
            self._channel.fail(frame.call_id, error)
        except Exception as error:  # fail this call, keep serving; a panic ends the worker
            traceback.print_exc()
            # A change that failed leaves the collection in doubt; a search does not.
            kind = SkerryError if isinstance(call, Search) else IndexUnavailable
            self._channel.fail(frame.call_id, kind(f"The vector engine failed: {error}"))

    def _answer(self, call: Call) -> bytes:
        match call:
            case Open():
                return encode(self._open(call))
            case Copy():
                copy_tree(Path(call.source), Path(call.target))
                return NO_ANSWER
            case Build():
                _build(call)
                return NO_ANSWER
            case Close():
                self._opened().close()
                self._shard = None
                return NO_ANSWER
            case Search():
                return encode(self._opened().search(call))
            case Apply():
                self._opened().apply(call)
            case Flush():
                self._opened().flush()
            case Status():
                pass
        return encode(self._opened().status())

    def _open(self, call: Open) -> Opened:
        self._shard, discarded = open_shard(Path(call.folder), call.spec, call.tuning)
        return Opened(self._shard.status(), discarded)

    def _opened(self) -> Shard:
        if self._shard is None:
            raise IndexUnavailable("The vector worker has no collection open.")
        return self._shard

    def _begin(self, call_id: int, search: Search) -> bool:
        sliced = self._opened().begin(search)
        if sliced is None:
            return False
        if len(self._thorough) >= MAX_THOROUGH:
            raise Overloaded("Too many exact or complex searches at once.", retry_after_s=1)
        self._thorough.append((call_id, sliced))
        return True

    def _advance(self) -> None:
        call_id, sliced = self._thorough.popleft()
        try:
            self._opened().advance(sliced)
        except Exception as error:  # fail this search, keep serving
            traceback.print_exc()
            self._channel.fail(call_id, SkerryError(f"The vector engine failed: {error}"))
            return
        if sliced.done:
            self._channel.answer(call_id, encode(sliced.best))
        else:
            self._thorough.append((call_id, sliced))


def _build(call: Build) -> None:
    give_way()
    folder = Path(call.folder)
    shard, discarded = open_shard(folder, call.spec, call.tuning)
    if discarded:
        raise IndexUnavailable(f"The copy cannot be used: {discarded}.")
    shard.build()
    shard.close()
    # The engine syncs what it wrote, not what was copied.
    sync_tree(folder)


def main() -> None:
    """Run as a worker."""
    Server(open_channel()).run()


if __name__ == "__main__":
    main()

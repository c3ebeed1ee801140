"""A worker for the tests of streaming: counts, refuses, falls silent, and takes cancellations."""

import sys
import time

from skerry.errors import SpaceMismatch
from skerry.workers.child import Channel, open_channel
from skerry.workers.frames import CANCEL, Frame

TICK_S = 0.01


class Counting:
    """Sends one number a tick to each counting call, until it is told to stop."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.counts: dict[int, int] = {}
        self.cancelled: list[int] = []

    def run(self) -> None:
        while not self.channel.closed:
            frame = self.channel.receive(wait=not self.counts)
            if frame is not None:
                self.serve(frame)
                continue
            for call_id in self.counts:
                self.channel.part(call_id, str(self.counts[call_id]).encode())
                self.counts[call_id] += 1
            time.sleep(TICK_S)

    def serve(self, frame: Frame) -> None:
        if frame.kind == CANCEL:
            self.cancelled.append(frame.call_id)
            if self.counts.pop(frame.call_id, None) is not None:
                self.channel.answer(frame.call_id, b"cancelled")
            return
        verb, _, rest = frame.body.partition(b" ")
        if verb == b"count":
            self.counts[frame.call_id] = 0
        elif verb == b"split":
            for part in rest.split():
                self.channel.part(frame.call_id, part)
            self.channel.answer(frame.call_id, b"end")
        elif verb == b"refuse":
            self.channel.part(frame.call_id, b"first")
            self.channel.fail(frame.call_id, SpaceMismatch(rest.decode()))
        elif verb == b"beat":
            for _ in range(int(rest)):
                time.sleep(0.1)
                self.channel.part(frame.call_id, b"")
            self.channel.answer(frame.call_id, b"end")
        elif verb == b"silence":
            self.channel.part(frame.call_id, b"first")
            time.sleep(60)
        elif verb == b"exit":
            self.channel.part(frame.call_id, b"first")
            sys.exit(3)
        elif verb == b"cancelled":
            self.channel.answer(frame.call_id, str(len(self.cancelled)).encode())


Counting(open_channel()).run()

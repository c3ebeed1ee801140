"""How an encoder shares a CPU's cores between one text's speed and many texts' rate."""

from __future__ import annotations

from skerry.inference.cpu import usable_cores

THREADS_A_STREAM = 4
"""A single text gains from so many threads; more of them gain less than another stream."""
ACCELERATOR_STREAMS = 2


def plan(*, threads: int, device: str) -> tuple[int, int]:
    """(threads, streams): how many threads compute in all, and how many calls side by side.

    On two cores a call of two threads takes half the time of one in a stream of its own, and a
    full batch the same: unlike an image, a batch of texts splits well.
    """
    if device != "cpu":
        return 0, ACCELERATOR_STREAMS
    threads = threads or usable_cores()
    return threads, max(1, threads // THREADS_A_STREAM)

"""From texts to what an encoder gives for them: tokens, windows, and the submitter's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from skerry.errors import DeadlineExceeded
from skerry.inference.base import EngineInfo, Float32
from skerry.inference.encoder import TextSubmitter
from skerry.pipelines.stages import Stages

Windows = list[list[list[int]]]
"""Of each text the token ids of its windows; most texts have one."""


class Reader:
    """The way of texts through a thread that tokenises them and the submitter of an encoder.

    `threads` are where many or long texts are tokenised; none: asyncio's own.
    """

    def __init__(self, submitter: TextSubmitter, *, threads: Executor | None) -> None:
        self._submitter = submitter
        self._threads = threads

    @property
    def info(self) -> EngineInfo:
        """What runs."""
        return self._submitter.encoder.info

    async def tokenized(
        self, tokenize: Callable[[], Windows], *, inline: bool, deadline: float, stages: Stages
    ) -> Windows:
        """What `tokenize` gives, called here or in a thread; DeadlineExceeded when it is late."""
        with stages.measure("tokenize"):
            if inline:
                return tokenize()
            work = asyncio.get_running_loop().run_in_executor(self._threads, tokenize)
            try:
                async with asyncio.timeout_at(deadline):
                    return await work
            except TimeoutError as error:
                raise DeadlineExceeded(
                    "The texts were not tokenised within the request's deadline.",
                    remedy="Send fewer or shorter texts in one call.",
                ) from error

    async def encoded(self, windows: Windows, *, deadline: float, stages: Stages) -> Float32:
        """The encoder's values, float32 (windows, width), of all windows in their order."""
        flat = [ids for of_text in windows for ids in of_text]
        encoded = await self._submitter.submit(flat, deadline=deadline)
        stages.add("queue", encoded.queue_s)
        stages.add("inference", encoded.inference_s)
        return encoded.values

    async def close(self) -> None:
        """Finish what was admitted, then free the model."""
        await self._submitter.close()
        self._submitter.encoder.close()


def token_counts(windows: Windows) -> list[int]:
    """Tokens of each text, those of all its windows and special ones included."""
    return [sum(map(len, of_text)) for of_text in windows]


def weighted_means(values: np.ndarray, windows: Windows) -> np.ndarray:
    """One row a text: the mean of its windows' rows, weighted by their tokens; as `values`."""
    starts = np.cumsum([0, *(len(of_text) for of_text in windows[:-1])])
    weights = np.array([[len(ids)] for of_text in windows for ids in of_text], values.dtype)
    totals = np.add.reduceat(weights, starts, axis=0)
    return np.asarray(np.add.reduceat(values * weights, starts, axis=0) / totals)

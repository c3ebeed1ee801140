"""Texts that wait for an encoder, and which of them go together into the next call."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skerry.inference.base import Float32
from skerry.inference.encoder import Encoded, TokenBatch

SHORTEST_SHARE = 0.75
"""A text joins longer ones only when it fills so much of their length: padding is computed too."""
SHORT_TOKENS = 8
"""Or when so few tokens are missing."""


class Request:
    """One caller's texts: which still wait, by length, and the values that have come."""

    def __init__(
        self, texts: Sequence[Sequence[int]], *, width: int, turn: float, since: float
    ) -> None:
        self.answer: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        self.since = since
        self.turn = turn
        """Tokens served so far, on the scale of all that wait: the least served is next."""
        self.tokens = sum(map(len, texts))
        self.inference_s = 0.0
        self._texts = texts
        self._order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        self._lengths = [len(texts[at]) for at in self._order]
        self._values: Float32 = np.empty((len(texts), width), np.float32)
        self._missing = len(texts)

    @property
    def waits(self) -> bool:
        """Whether some of its texts are in no call yet."""
        return bool(self._order)

    @property
    def longest(self) -> int:
        """Tokens of the longest text that waits."""
        return self._lengths[-1]

    def take(self, count: int, *, shortest: int, longest: int) -> list[Piece]:
        """Up to `count` waiting texts of `shortest` to `longest` tokens, longest first."""
        end = bisect_left(self._lengths, longest + 1)
        start = max(bisect_left(self._lengths, shortest), end - count)
        taken = self._order[start:end]
        self.tokens -= sum(self._lengths[start:end])
        del self._order[start:end], self._lengths[start:end]
        return [Piece(self, at, self._texts[at]) for at in reversed(taken)]

    def put(self, at: int, values: Float32) -> bool:
        """Keep one text's values, float32 (width,); whether they were the last."""
        self._values[at] = values
        self._missing -= 1
        return self._missing == 0

    def encoded(self, *, ended: float) -> Encoded:
        """All values, and where the time went."""
        queue_s = max(0.0, ended - self.since - self.inference_s)
        return Encoded(self._values, queue_s, self.inference_s)

    def drop(self) -> None:
        """Leave the queue: what is not in a call yet will not be."""
        self._order, self._lengths, self.tokens = [], [], 0


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One text of a call, and whose it is."""

    request: Request
    at: int
    ids: Sequence[int]


def compose(waiting: Sequence[Request], *, tokens: int) -> list[Piece]:
    """The next call: about `tokens` padded tokens, of texts alike in length.

    The request served least leads with its longest text; the others fill up in their turn, each
    with an equal share first, so that a large request does not crowd out a small one.
    """
    in_turn = sorted(waiting, key=lambda request: request.turn)
    longest = in_turn[0].longest
    shortest = min(int(longest * SHORTEST_SHARE), longest - SHORT_TOKENS)
    room = max(1, tokens // longest)
    share = max(1, room // len(in_turn))
    pieces: list[Piece] = []
    for count in (share, room):
        for request in in_turn:
            wanted = min(count, room - len(pieces))
            if wanted and request.waits:
                pieces += request.take(wanted, shortest=shortest, longest=longest)
    for piece in pieces:
        piece.request.turn += longest
    return pieces


def padded(pieces: Sequence[Piece], *, pad_id: int) -> TokenBatch:
    """The pieces as one batch, int64 (n, length)."""
    length = max(len(piece.ids) for piece in pieces)
    ids = np.full((len(pieces), length), pad_id, np.int64)
    mask = np.zeros((len(pieces), length), np.int64)
    for row, piece in enumerate(pieces):
        ids[row, : len(piece.ids)] = piece.ids
        mask[row, : len(piece.ids)] = 1
    return TokenBatch(ids, mask)

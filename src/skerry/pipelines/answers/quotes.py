"""Quote what answers a question, word for word, with enough around it to be understood."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skerry.pipelines.answers.extract import Sentence
from skerry.pipelines.answers.reading import Reading
from skerry.sql.document_rows import FoundChunk

MAX_QUOTES = 3
QUOTE_CHARACTERS = 400
"""Up to which a sentence is quoted with those around it: some sixty words. More hold the right
sentence more often, until the reader might as well read the chunks."""
LEAST_SHARE = 0.05
"""Of the best quote's score: what is less likely is beside the point."""

Place = tuple[int, int]
"""A chunk's id, and a sentence's number in it."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What stands from `start` to `end` in the text of the chunk's document.

    `score` is the chance, 0…1, that one of its sentences holds the answer.
    """

    chunk: FoundChunk
    start: int
    end: int
    score: float

    @property
    def text(self) -> str:
        """It, verbatim."""
        return self.chunk.between(self.start, self.end)


def choose(reading: Reading, *, limit: int) -> list[Quote]:
    """The passages likeliest to answer, at most MAX_QUOTES and `limit`, the best first.

    Each is a sentence with those around it. Headings are never quoted, nor is anything across one.
    """
    free = {_place(one): one for one in reading.found if not one.is_heading}
    chances = {
        _place(one): float(chance)
        for one, chance in zip(reading.sentences, reading.chances, strict=True)
    }
    quotes: list[Quote] = []
    while len(quotes) < min(MAX_QUOTES, limit):
        seeds = [one for one in reading.sentences if _place(one) in free]
        if not seeds:
            break
        passages = [_grown(seed, free, chances) for seed in seeds]
        best = max(passages, key=lambda passage: _chance(passage, chances))
        score = _chance(best, chances)
        if quotes and score < LEAST_SHARE * quotes[0].score:
            break
        quotes.append(Quote(best[0].chunk, best[0].start, best[-1].end, score))
        for one in best:
            del free[_place(one)]
    return _joined(quotes)


def _grown(
    seed: Sentence, free: Mapping[Place, Sentence], chances: Mapping[Place, float]
) -> list[Sentence]:
    """The sentence and as many of the free ones around it as fit, in their order."""
    passage = [seed]
    while True:
        near = [
            free.get((seed.chunk.id, place))
            for place in (passage[-1].place + 1, passage[0].place - 1)
        ]
        fitting = [one for one in near if one is not None and _fits(passage, one)]
        if not fitting:
            return passage
        # Of two as likely the one that follows: there stands what a sentence announces.
        one = max(fitting, key=lambda one: chances.get(_place(one), 0.0))
        passage.insert(0 if one.place < seed.place else len(passage), one)


def _fits(passage: Sequence[Sentence], one: Sentence) -> bool:
    start, end = min(passage[0].start, one.start), max(passage[-1].end, one.end)
    return end - start <= QUOTE_CHARACTERS


def _chance(passage: Sequence[Sentence], chances: Mapping[Place, float]) -> float:
    """That one of its sentences holds the answer, as if they knew nothing of each other."""
    return 1 - math.prod(1 - chances.get(_place(one), 0.0) for one in passage)


def _joined(quotes: list[Quote]) -> list[Quote]:
    """The quotes, best first; those that follow one another in a chunk are one."""
    joined: list[Quote] = []
    for new in sorted(quotes, key=lambda quote: (quote.chunk.id, quote.start)):
        old = joined[-1] if joined else None
        if old is not None and _touch(old, new):
            score = 1 - (1 - old.score) * (1 - new.score)
            joined[-1] = Quote(old.chunk, old.start, new.end, score)
        else:
            joined.append(new)
    return sorted(joined, key=lambda quote: -quote.score)


def _touch(old: Quote, new: Quote) -> bool:
    return old.chunk.id == new.chunk.id and not old.chunk.between(old.end, new.start).strip()


def _place(sentence: Sentence) -> Place:
    return sentence.chunk.id, sentence.place

"""Choose the sentences of found chunks that carry the answer to a question, word for word."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skerry.inference.base import Float32
from skerry.media.sentences import Border, Piece, pieces
from skerry.media.words import words
from skerry.pipelines.document_search import Evidence, Hit
from skerry.pipelines.judgement import Features
from skerry.sql.document_rows import FoundChunk
from skerry.sql.keywords import TermCounts

MAX_SENTENCES = 3
"""Of an answer; with a fourth it holds the right one hardly more often."""
FENCE = re.compile(r"^[ \t]*(?:```|~~~)[`~]*(?P<language>[^\s`]?)", re.MULTILINE)
SHORT_WORDS = 6
LONG_WORDS = 80
NEAR_RANKS = slice(10, 50)
"""Chunks on the question's subject, but not on its point: what the best one stands out from."""
UNRELATED = 0.1
"""The cosine of a question and a chunk on something else, in place of those a small collection
lacks."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a chunk; `start` and `end` are offsets into its document's text.

    `rank` is that of the chunk, and `place` its own among the sentences of the chunk.
    """

    chunk: FoundChunk
    chunk_score: float
    rank: int
    place: int
    start: int
    end: int
    is_heading: bool

    @property
    def text(self) -> str:
        """It, verbatim."""
        return self.chunk.between(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Quote:
    """What stands from `start` to `end` in the text of the chunk's document.

    `score` is the chance, 0…1, that its best sentence holds the answer.
    """

    chunk: FoundChunk
    start: int
    end: int
    score: float

    @property
    def text(self) -> str:
        """It, verbatim."""
        return self.chunk.between(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Reading:
    """What speaks for each sentence, by the names of the features, and for there being an answer.

    Each array of `by_sentence` is float64 (sentences,).
    """

    sentences: list[Sentence]
    by_sentence: Mapping[str, Features]
    overall: Mapping[str, float]


def sentences_of(hits: Sequence[Hit]) -> list[Sentence]:
    """Every sentence and heading of the chunks once, though chunks overlap; best chunks first."""
    found: dict[tuple[str, int, int], Sentence] = {}
    for rank, hit in enumerate(hits):
        chunk = hit.chunk
        for place, piece in enumerate(_pieces(chunk.text)):
            start, end = chunk.start + piece.start, chunk.start + piece.end
            is_heading = piece.border is Border.HEADING
            sentence = Sentence(chunk, hit.score, rank, place, start, end, is_heading)
            found.setdefault((chunk.document, start, end), sentence)
    return list(found.values())


def _pieces(text: str) -> list[Piece]:
    """The pieces of a chunk, which may begin within a block of code and end within another."""
    fences = list(FENCE.finditer(text))
    # A fence that names a language opens a block. One that names none, and has no partner or is
    # followed by an opening one, ends a block which the chunk before began.
    opens = [bool(fence["language"]) for fence in fences[:2]]
    begins_inside = opens == [False, True] or (len(fences) % 2 == 1 and not opens[0])
    if not begins_inside:
        return pieces(text)
    end = fences[0].end()
    later = [
        replace(piece, start=piece.start + end, end=piece.end + end) for piece in pieces(text[end:])
    ]
    return [Piece(0, end, Border.PARAGRAPH), *later]


def read(
    sentences: list[Sentence],
    cosines: Float32,
    *,
    counts: TermCounts,
    evidence: Evidence,
) -> Reading:
    """Measure what `scripts/answers/calibrate.py` found to tell answers from other sentences.

    `cosines`, (sentences,), are theirs to the question; `counts` are of its terms.
    """
    weights = counts.weights()
    terms = [{word.term for word in words(sentence.text)} for sentence in sentences]
    beside = [_beside(sentences, at) for at in range(len(sentences))]
    around = [terms[at].union(*(terms[n] for n in near)) for at, near in enumerate(beside)]
    lengths = np.array([len(sentence.text.split()) for sentence in sentences])
    meaning_beside = [
        float(np.mean([cosines[n] for n in near])) if near else float(cosines[at])
        for at, near in enumerate(beside)
    ]
    by_sentence = {
        "meaning": _standardised(cosines),
        "meaning_beside": _standardised(meaning_beside),
        "words": _shares(terms, weights),
        "words_around": _shares(around, weights),
        "chunk_score": np.array([sentence.chunk_score for sentence in sentences]),
        "chunk_rank": np.array([1 / (1 + sentence.rank) for sentence in sentences]),
        "short": (lengths < SHORT_WORDS).astype(float),
        "length": np.minimum(lengths, LONG_WORDS) / LONG_WORDS,
        "markup": np.array([float(sentence.text.startswith("<")) for sentence in sentences]),
    }
    overall = {
        **_of_search(evidence, total_weight=_total(weights)),
        "sentence_meaning": float(cosines.max()),
        "words_around": float(by_sentence["words_around"].max()),
        "unknown_words": sum(weights[term] for term, n in counts.having.items() if n == 0)
        / _total(weights),
        "log_chunks": math.log(max(1, counts.chunks)),
    }
    return Reading(sentences, by_sentence, overall)


def choose(sentences: Sequence[Sentence], chances: Features, *, limit: int) -> list[Quote]:
    """The likeliest sentences, at most MAX_SENTENCES and `limit` quotes, best first.

    Sentences that follow one another make one quote. Headings are never quoted.
    """
    order = [int(at) for at in np.argsort(-chances, kind="stable")]
    chosen = [at for at in order if not sentences[at].is_heading][:MAX_SENTENCES]
    quotes: list[Quote] = []
    for at in chosen:
        sentence = sentences[at]
        quote = Quote(sentence.chunk, sentence.start, sentence.end, float(chances[at]))
        quotes = _joined(quotes, quote)
    return quotes[:limit]


def _joined(quotes: list[Quote], new: Quote) -> list[Quote]:
    """The quotes with the new one, which may continue one of them, or close a gap between two."""
    for old in quotes:
        first, second = sorted((old, new), key=lambda quote: quote.start)
        if old.chunk.id == new.chunk.id and not old.chunk.between(first.end, second.start).strip():
            rest = [quote for quote in quotes if quote is not old]
            whole = Quote(old.chunk, first.start, second.end, max(old.score, new.score))
            return sorted(_joined(rest, whole), key=lambda quote: -quote.score)
    return [*quotes, new]


def _beside(sentences: Sequence[Sentence], at: int) -> list[int]:
    """Where the sentences before and after it in its chunk stand."""
    one = sentences[at]
    return [
        n
        for n in (at - 1, at + 1)
        if 0 <= n < len(sentences)
        and sentences[n].chunk.id == one.chunk.id
        and abs(sentences[n].place - one.place) == 1
    ]


def _standardised(values: Sequence[float] | Float32) -> Features:
    """How far each stands out among all: embedding models differ in what cosine means much."""
    given = np.asarray(values, np.float64)
    spread: Features = (given - given.mean()) / max(float(given.std()), 1e-6)
    return spread


def _shares(terms: Sequence[Collection[str]], weights: Mapping[str, float]) -> Features:
    """What share of the question's words, by weight, is among the terms."""
    return np.array(
        [
            sum(weight for term, weight in weights.items() if term in own) / _total(weights)
            for own in terms
        ]
    )


def _of_search(evidence: Evidence, *, total_weight: float) -> dict[str, float]:
    meaning = [score for _, score in evidence.meaning[: NEAR_RANKS.stop]]
    meaning += [UNRELATED] * (NEAR_RANKS.stop - len(meaning))
    best_by_words = evidence.words[0][1] if evidence.words else 0.0
    return {
        "meaning_margin": meaning[0] - float(np.mean(meaning[NEAR_RANKS])),
        "keywords": best_by_words / total_weight,
    }


def _total(weights: Mapping[str, float]) -> float:
    return sum(weights.values()) or 1.0

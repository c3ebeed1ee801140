"""Measure what tells sentences that answer a question from others, and read those worth it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skerry.inference.base import Float32
from skerry.media.words import words
from skerry.pipelines.answers.extract import Sentence, sentences_of
from skerry.pipelines.answers.judgement import Features, Logistic
from skerry.pipelines.documents.search import Evidence
from skerry.sql.keywords import TermCounts

READ_CHARACTERS = 3000
"""Of all sentences that the embedding model reads for one question: what time it takes. Twice as
many answer no better."""
SENTENCE_CHARACTERS = 300
"""Of one sentence; what follows is seldom prose."""
SHORT_WORDS = 6
LONG_WORDS = 80
CODE = re.compile(r"\A\s*(?:```|~~~)|[;{]\n")
NEAR_RANKS = slice(10, 50)
"""Chunks on the question's subject, but not on its point: what the best one stands out from."""
UNRELATED = 0.1
"""The cosine of a question and a chunk on something else, in place of those a small collection
lacks."""


@dataclass(frozen=True, slots=True)
class Skimmed:
    """The sentences found, and what their words and places say: all that needs no model.

    Each array of `by_sentence` is float64 (sentences,).
    """

    evidence: Evidence
    sentences: list[Sentence]
    by_sentence: Mapping[str, Features]
    overall: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """The sentences that were read, and what speaks for each and for there being an answer.

    The arrays are float64 (sentences,); `chances`, 0…1, are that each holds the answer.
    `found` are all sentences of the chunks, also those that were not worth reading.
    """

    sentences: list[Sentence]
    found: list[Sentence]
    by_sentence: Mapping[str, Features]
    chances: Features
    overall: Mapping[str, float]


def skim(evidence: Evidence, counts: TermCounts) -> Skimmed:
    """Measure what words and places tell; `counts` are of the question's terms."""
    sentences = sentences_of(evidence.hits)
    weights = counts.weights()
    by_sentence = {**_by_words(sentences, weights), **_by_look(sentences)}
    overall = {
        "meaning_margin": _margin(evidence),
        "words_around": float(by_sentence["words_around"].max()),
        "unknown_words": sum(weights[term] for term, n in counts.having.items() if n == 0)
        / _total(weights),
        "log_chunks": math.log(max(1, counts.chunks)),
    }
    return Skimmed(evidence, sentences, by_sentence, overall)


def worth_reading(skimmed: Skimmed, worth: Features) -> list[int]:
    """Which sentences to read, in their order: the worthiest, up to READ_CHARACTERS in all.

    Headings are not, unless there is nothing else.
    """
    order = [int(at) for at in np.argsort(-worth, kind="stable")]
    order = [at for at in order if not skimmed.sentences[at].is_heading] or order
    lengths = [len(beginning(skimmed.sentences[at])) for at in order]
    return sorted(order[: int(np.searchsorted(np.cumsum(lengths), READ_CHARACTERS, "right"))])


def beginning(sentence: Sentence) -> str:
    """What the embedding model reads of it."""
    return sentence.text[:SENTENCE_CHARACTERS]


def read(skimmed: Skimmed, at: Sequence[int], cosines: Float32, *, weights: Logistic) -> Reading:
    """Judge the sentences `at` these places, whose `cosines`, (len(at),), are to the question."""
    by_sentence = {name: values[list(at)] for name, values in skimmed.by_sentence.items()}
    by_sentence["meaning"] = _standardised(cosines)
    log_odds = weights.log_odds(by_sentence)
    return Reading(
        sentences=[skimmed.sentences[one] for one in at],
        found=skimmed.sentences,
        by_sentence=by_sentence,
        chances=weights.chance(by_sentence),
        overall={
            **skimmed.overall,
            "sentence_meaning": float(cosines.max()),
            "best_sentence": float(log_odds.max()),
        },
    )


def _by_words(sentences: Sequence[Sentence], weights: Mapping[str, float]) -> dict[str, Features]:
    """What share of the question's words, by weight, it has, alone and with what is near it."""
    terms = [_terms(sentence.text) for sentence in sentences]
    around = [
        terms[at].union(*(terms[n] for n in _beside(sentences, at))) for at in range(len(sentences))
    ]
    headings = {sentence.chunk.id: _terms(sentence.chunk.heading) for sentence in sentences}
    below = [own | headings[one.chunk.id] for own, one in zip(terms, sentences, strict=True)]
    return {
        "words": _shares(terms, weights),
        "words_around": _shares(around, weights),
        "words_and_heading": _shares(below, weights),
    }


def _by_look(sentences: Sequence[Sentence]) -> dict[str, Features]:
    """Where it was found, and whether it looks like one that says something."""
    texts = [sentence.text for sentence in sentences]
    lengths = np.array([len(text.split()) for text in texts])
    return {
        "chunk_score": np.array([sentence.chunk_score for sentence in sentences]),
        "chunk_rank": np.array([1 / (1 + sentence.rank) for sentence in sentences]),
        "short": (lengths < SHORT_WORDS).astype(float),
        "length": np.minimum(lengths, LONG_WORDS) / LONG_WORDS,
        "markup": np.array([float(text.startswith("<")) for text in texts]),
        "code": np.array([float(CODE.search(text) is not None) for text in texts]),
        "asks": np.array([float(text.endswith("?")) for text in texts]),
    }


def _terms(text: str) -> set[str]:
    return {word.term for word in words(text)}


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


def _standardised(values: Float32) -> Features:
    """How far each stands out among all: embedding models differ in what cosine means much."""
    given = np.asarray(values, np.float64)
    spread: Features = (given - given.mean()) / max(float(given.std()), 1e-6)
    return spread


def _shares(terms: Sequence[Collection[str]], weights: Mapping[str, float]) -> Features:
    return np.array(
        [
            sum(weight for term, weight in weights.items() if term in own) / _total(weights)
            for own in terms
        ]
    )


def _margin(evidence: Evidence) -> float:
    meaning = [score for _, score in evidence.meaning[: NEAR_RANKS.stop]]
    meaning += [UNRELATED] * (NEAR_RANKS.stop - len(meaning))
    return meaning[0] - float(np.mean(meaning[NEAR_RANKS]))


def _total(weights: Mapping[str, float]) -> float:
    return sum(weights.values()) or 1.0

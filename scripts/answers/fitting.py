"""Fit the judgement to what was observed, and measure what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from _questions import Question, contains_gold
from numpy.typing import NDArray

from skerry.models.catalogue import DEFAULT_EMBEDDING_MODEL
from skerry.pipelines.extract import Reading, choose
from skerry.pipelines.judgement import Decision, Judgement, Logistic, Weight

Floats = NDArray[np.float64]

SENTENCE = (
    "meaning", "meaning_beside", "words", "words_around", "chunk_score", "chunk_rank", "short",
    "length", "markup",
)  # fmt: skip
BY_MEANING = ("meaning_margin", "sentence_meaning", "words_around", "unknown_words")
BY_WORDS = ("words_around", "unknown_words", "log_chunks")
SENTENCE_RIDGE, DECISION_RIDGE = 1.0, 10.0
"""Strength of the penalty on squared weights: few questions decide."""
STEPS = 50
THRESHOLD = 0.5
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Observation:
    """A question asked of a collection; `gold`, bool (sentences,), says which hold the answer."""

    question: Question
    documents: int
    reading: Reading
    gold: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measured:
    """Shares: of answerable questions those answered, with the gold span within; of unanswerable
    ones those declined. `found`: the gold sentence was among those that were read."""

    answerable: int
    found: float
    answered: float
    right: float
    unanswerable: int
    declined: float


def fitted(observed: Sequence[Observation]) -> Judgement:
    """The judgement that these observations teach."""
    return Judgement(
        embedding=DEFAULT_EMBEDDING_MODEL,
        sentence=sentence_fit([one for one in observed if one.question.answerable]),
        by_meaning=decision_fit(observed, BY_MEANING),
        by_words=decision_fit(observed, BY_WORDS),
    )


def sentence_fit(observed: Sequence[Observation]) -> Logistic:
    """The chance that a sentence, which is no heading, holds the gold span."""
    rows, truths = [], []
    for one in observed:
        quotable = np.array([not sentence.is_heading for sentence in one.reading.sentences])
        columns = [one.reading.by_sentence[name] for name in SENTENCE]
        rows.append(np.stack(columns, axis=1)[quotable])
        truths.append(one.gold[quotable])
    truth = np.concatenate(truths).astype(float)
    return logistic(
        SENTENCE, np.concatenate(rows), truth, np.ones(len(truth)), ridge=SENTENCE_RIDGE
    )


def decision_fit(observed: Sequence[Observation], features: Sequence[str]) -> Decision:
    """The chance that a question is answered, were half of all questions answerable."""
    rows = np.array([[one.reading.overall[name] for name in features] for one in observed])
    truth = np.array([float(one.question.answerable) for one in observed])
    share = truth.mean()
    importance = np.where(truth == 1, 0.5 / share, 0.5 / (1 - share))
    return Decision(THRESHOLD, logistic(features, rows, truth, importance, ridge=DECISION_RIDGE))


def logistic(
    names: Sequence[str], rows: Floats, truth: Floats, importance: Floats, *, ridge: float
) -> Logistic:
    """Weighted logistic regression with a ridge on standardised features, by Newton's method."""
    means, deviations = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    standard = np.c_[(rows - means) / deviations, np.ones(len(rows))]
    penalty = np.r_[np.full(len(names), ridge), 0.0]
    weights = np.zeros(len(names) + 1)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-standard @ weights))
        slope = standard.T @ (importance * (chance - truth)) + penalty * weights
        bend = (standard.T * (importance * chance * (1 - chance))) @ standard + np.diag(penalty)
        weights -= np.linalg.solve(bend, slope)
    numbers = zip(names, means, deviations, weights[:-1], strict=True)
    return Logistic(
        bias=round(float(weights[-1]), 4),
        weights={name: Weight(*(round(float(x), 4) for x in three)) for name, *three in numbers},
    )


def measured(
    observed: Sequence[Observation], judgement: Judgement, *, embedding: str = ""
) -> Measured:
    """How the judgement fares; `embedding` names another model, by whose cosines none decides."""
    decision = judgement.decision(embedding or judgement.embedding)
    answered, right, found = [], [], []
    for one in observed:
        says = decision.chance(one.reading.overall) >= decision.threshold
        answered.append(says)
        right.append(says and is_right(one, judgement))
        found.append(bool(one.gold.any()))
    answerable = np.array([one.question.answerable for one in observed])
    said = np.array(answered)
    return Measured(
        answerable=int(answerable.sum()),
        found=float(np.mean(np.array(found)[answerable])),
        answered=float(said[answerable].mean()),
        right=float(np.mean(np.array(right)[answerable])),
        unanswerable=int((~answerable).sum()),
        declined=float((~said[~answerable]).mean()),
    )


def cross_validated(observed: Sequence[Observation], *, whole: int) -> Measured:
    """As `measured` over the whole collection, each fifth judged by what the others teach."""
    order = list(dict.fromkeys(one.question.id for one in observed))
    fold = {name: at % FOLDS for at, name in enumerate(order)}
    parts = []
    for left_out in range(FOLDS):
        judgement = fitted([one for one in observed if fold[one.question.id] != left_out])
        tested = [
            one for one in observed if fold[one.question.id] == left_out and one.documents == whole
        ]
        parts.append(measured(tested, judgement))
    return _together(parts)


def is_right(one: Observation, judgement: Judgement) -> bool:
    """Whether the quotes hold the gold span."""
    chances = judgement.sentence.chance(one.reading.by_sentence)
    quotes = choose(one.reading.sentences, chances, limit=len(chances))
    return contains_gold("\n\n".join(quote.text for quote in quotes), one.question)


def gold_of(question: Question, reading: Reading) -> NDArray[np.bool_]:
    """Which sentences hold the span."""
    return np.array(
        [
            question.answerable
            and sentence.chunk.document == question.file
            and contains_gold(sentence.text, question)
            for sentence in reading.sentences
        ]
    )


def _together(parts: Sequence[Measured]) -> Measured:
    answerable = [part.answerable for part in parts]
    unanswerable = [part.unanswerable for part in parts]
    return Measured(
        answerable=sum(answerable),
        found=float(np.average([part.found for part in parts], weights=answerable)),
        answered=float(np.average([part.answered for part in parts], weights=answerable)),
        right=float(np.average([part.right for part in parts], weights=answerable)),
        unanswerable=sum(unanswerable),
        declined=float(np.average([part.declined for part in parts], weights=unanswerable)),
    )

"""Fit the judgement to what was observed, and measure what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from _questions import Question, contains_gold
from numpy.typing import NDArray

from skerry.models.catalogue import DEFAULT_EMBEDDING_MODEL
from skerry.pipelines.answers.judgement import Decision, Judgement, Logistic, Weight
from skerry.pipelines.answers.quotes import choose
from skerry.pipelines.answers.reading import Reading, Skimmed, read, worth_reading

Floats = NDArray[np.float64]

WORTH = (
    "words", "words_around", "words_and_heading", "chunk_score", "chunk_rank", "short", "length",
    "markup", "code", "asks",
)  # fmt: skip
SENTENCE = ("meaning", *WORTH)
BY_MEANING = (
    "meaning_margin", "sentence_meaning", "best_sentence", "words_around", "unknown_words",
)  # fmt: skip
BY_WORDS = ("words_around", "unknown_words", "log_chunks")
SENTENCE_RIDGE, DECISION_RIDGE = 1.0, 10.0
"""Strength of the penalty on squared weights: few questions decide."""
STEPS = 50
FOLDS = 5
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(2, 19))
ANOTHER_MODEL = "another"
"""Any embedding model by whose cosines nothing was learnt."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A question asked of a collection; `cosines` are those of all sentences skimmed, and `gold`,
    bool (sentences,), says which hold the answer."""

    question: Question
    documents: int
    skimmed: Skimmed
    cosines: NDArray[np.float32]
    gold: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measured:
    """Shares: of answerable questions those answered, with the gold span within; of unanswerable
    ones those declined. `found`: the gold sentence was among those skimmed; `read`: and it was
    read. `auc`: how often an answerable question is given the higher chance of the two kinds."""

    answerable: int
    found: float
    read: float
    answered: float
    right: float
    unanswerable: int
    declined: float
    auc: float
    words: float
    """Of an answer, in the mean."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a judgement makes of one question: its answer, and the chance that there is one."""

    observation: Observation
    answer: str
    gold_read: bool
    chance: float
    threshold: float

    @property
    def right(self) -> bool:
        """Whether the answer holds the gold span, though it may be declined."""
        return contains_gold(self.answer, self.observation.question)

    @property
    def answered(self) -> bool:
        """Whether it is not declined."""
        return self.chance >= self.threshold


def fitted(observed: Sequence[Observation], *, whole: int) -> Judgement:
    """The judgement that these observations teach; `whole` is the size of the whole collection."""
    judgement = weighed(observed)
    held_out = left_out(observed, whole=whole)
    by_words = left_out(observed, whole=whole, embedding=ANOTHER_MODEL)
    return Judgement(
        judgement.embedding,
        judgement.worth,
        judgement.sentence,
        by_meaning=Decision(threshold_for(held_out), judgement.by_meaning.chances),
        by_words=Decision(threshold_for(by_words), judgement.by_words.chances),
    )


def threshold_for(outcomes: Sequence[Outcome]) -> float:
    """Where the shares of right answers and of unanswerable questions declined sum to the most.

    So an answer beside the point weighs as much as a right one that is kept back.
    """

    def worth(threshold: float) -> float:
        measures = measured([replace(one, threshold=threshold) for one in outcomes])
        return measures.right + measures.declined

    return max(THRESHOLDS, key=worth)


def weighed(observed: Sequence[Observation]) -> Judgement:
    """The same with thresholds of 0: it declines nothing."""
    answerable = [one for one in observed if one.question.answerable]
    worth = logistic_over(
        WORTH, [one.skimmed.by_sentence for one in answerable], [one.gold for one in answerable]
    )
    none = Logistic(0.0, {})
    read_before = [read_again(one, worth, none) for one in answerable]
    sentence = logistic_over(
        SENTENCE,
        [reading.by_sentence for _, reading in read_before],
        [one.gold[at] for one, (at, _) in zip(answerable, read_before, strict=True)],
    )
    overall = [read_again(one, worth, sentence)[1].overall for one in observed]
    truth = np.array([float(one.question.answerable) for one in observed])
    return Judgement(
        DEFAULT_EMBEDDING_MODEL,
        worth,
        sentence,
        by_meaning=Decision(0.0, decision_fit(overall, truth, BY_MEANING)),
        by_words=Decision(0.0, decision_fit(overall, truth, BY_WORDS)),
    )


def logistic_over(
    names: Sequence[str],
    features: Sequence[Mapping[str, Floats]],
    gold: Sequence[NDArray[np.bool_]],
) -> Logistic:
    """The chance that a sentence holds the gold span, by these features."""
    rows = np.concatenate([np.stack([one[name] for name in names], axis=1) for one in features])
    truth = np.concatenate(gold).astype(float)
    return logistic(names, rows, truth, np.ones(len(truth)), ridge=SENTENCE_RIDGE)


def decision_fit(
    overall: Sequence[Mapping[str, float]], truth: Floats, features: Sequence[str]
) -> Logistic:
    """The chance that a question is answered, were half of all questions answerable."""
    rows = np.array([[one[name] for name in features] for one in overall])
    share = truth.mean()
    importance = np.where(truth == 1, 0.5 / share, 0.5 / (1 - share))
    return logistic(features, rows, truth, importance, ridge=DECISION_RIDGE)


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


def outcome(one: Observation, judgement: Judgement, *, embedding: str = "") -> Outcome:
    """As a node answers; `embedding` names another model than the one learnt of."""
    decision = judgement.decision(embedding or judgement.embedding)
    at, reading = read_again(one, judgement.worth, judgement.sentence)
    quotes = choose(reading, limit=len(reading.sentences))
    return Outcome(
        one,
        answer="\n\n".join(quote.text for quote in quotes),
        gold_read=bool(one.gold[at].any()),
        chance=decision.chance(reading.overall),
        threshold=decision.threshold,
    )


def read_again(one: Observation, worth: Logistic, sentence: Logistic) -> tuple[list[int], Reading]:
    """Which sentences a node reads with these weights, and what it makes of them."""
    at = worth_reading(one.skimmed, worth.chance(one.skimmed.by_sentence))
    return at, read(one.skimmed, at, one.cosines[at], weights=sentence)


def measured(outcomes: Sequence[Outcome]) -> Measured:
    """What these come to."""
    asked = [one for one in outcomes if one.observation.question.answerable]
    others = [one for one in outcomes if not one.observation.question.answerable]
    return Measured(
        answerable=len(asked),
        found=_share([one.observation.gold.any() for one in asked]),
        read=_share([one.gold_read for one in asked]),
        answered=_share([one.answered for one in asked]),
        right=_share([one.answered and one.right for one in asked]),
        unanswerable=len(others),
        declined=_share([not one.answered for one in others]),
        auc=_auc([one.chance for one in asked], [one.chance for one in others]),
        words=float(np.mean([len(one.answer.split()) for one in asked if one.answered])),
    )


def left_out(observed: Sequence[Observation], *, whole: int, embedding: str = "") -> list[Outcome]:
    """Of the whole collection, each fifth judged by what the others teach; none is declined."""
    order = list(dict.fromkeys(one.question.id for one in observed))
    fold = {name: at % FOLDS for at, name in enumerate(order)}
    outcomes = []
    for number in range(FOLDS):
        judgement = weighed([one for one in observed if fold[one.question.id] != number])
        outcomes += [
            outcome(one, judgement, embedding=embedding)
            for one in observed
            if fold[one.question.id] == number and one.documents == whole
        ]
    return outcomes


def gold_of(question: Question, skimmed: Skimmed) -> NDArray[np.bool_]:
    """Which sentences hold the span."""
    return np.array(
        [
            question.answerable
            and sentence.chunk.document == question.file
            and not sentence.is_heading
            and contains_gold(sentence.text, question)
            for sentence in skimmed.sentences
        ]
    )


def _share(truths: Sequence[bool]) -> float:
    return sum(truths) / max(1, len(truths))


def _auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    above, below = np.array(higher)[:, None], np.array(lower)
    return float(((above > below) + 0.5 * (above == below)).mean())

"""Sentences made from a few words, for what the data lacks: negation, turns, and plain facts."""

from __future__ import annotations

import itertools
import random

from texts import Text

SUBJECTS = (
    "the food", "this phone", "the service", "the hotel", "their support", "the battery",
    "the film", "this book", "the room", "the update", "her talk", "the delivery", "it", "this",
    "our order", "the app", "the concert", "the staff",
)  # fmt: skip
GOOD = (
    "good", "great", "excellent", "helpful", "reliable", "amazing", "fun", "fast", "friendly",
    "worth the money", "comfortable", "impressive", "easy to use", "clean",
)  # fmt: skip
BAD = (
    "bad", "terrible", "awful", "useless", "broken", "slow", "rude", "disappointing", "boring",
    "a waste of money", "dirty", "horrible", "confusing", "overpriced",
)  # fmt: skip
NEGATIONS = ("is not", "isn't", "was not", "wasn't", "was never", "is not really", "wasn't very")
PLAIN = ("is", "was", "is really", "was very", "has been")
NEGATED_GOOD, NEGATED_BAD, PLAIN_GOOD, PLAIN_BAD = -1.6, 0.8, 2.3, -2.3
"""Ratings such sentences have on the scale of the data."""
TURNS = (" but ", ", but ", ". However, ", ", although ")
WHO = ("the meeting", "the train", "the parcel", "the shop", "the lecture", "our office",
       "the second part", "the report", "the museum", "the next version")  # fmt: skip
DOES = ("starts at nine", "is on Tuesday", "is in the main building", "closes at six",
        "was published in 2019", "takes about two hours", "is near the station",
        "has three chapters", "was moved to Monday", "covers the first quarter")  # fmt: skip
FACTS = (
    "My number is {n}.", "Please send the invoice to room {n}.", "He lives in apartment {n}.",
    "The file has {n} lines.", "Which bus goes to street {n}?", "Water boils at {n} degrees.",
    "I am calling about order {n}.", "The recipe needs {n} grams of flour.",
    "Press button {n} to continue.", "There are {n} people in the room.",
    "The package weighs {n} grams.", "What time does flight {n} leave?",
    "She bought {n} notebooks and a pen.", "See page {n} for the list of parts.",
    "The box contains {n} screws and a cable.", "I have {n} questions about the contract.",
)  # fmt: skip


def made_up(*, seed: int, each: int) -> list[Text]:
    """`each` sentences of every kind: plain, negated, of two halves, factual."""
    chance = random.Random(seed)
    kinds = (
        (_opinions(PLAIN, GOOD), PLAIN_GOOD),
        (_opinions(PLAIN, BAD), PLAIN_BAD),
        (_opinions(NEGATIONS, GOOD), NEGATED_GOOD),
        (_opinions(NEGATIONS, BAD), NEGATED_BAD),
        (_facts(), 0.0),
    )
    texts = [
        _text(sentence, rating)
        for sentences, rating in kinds
        for sentence in chance.sample(sentences, min(each, len(sentences)))
    ]
    return texts + [_turn(chance) for _ in range(each)]


def _opinions(verbs: tuple[str, ...], words: tuple[str, ...]) -> list[str]:
    return [f"{subject} {verb} {word}." for subject, verb, word in
            itertools.product(SUBJECTS, verbs, words)]  # fmt: skip


def _facts() -> list[str]:
    plain = [f"{who} {does}." for who, does in itertools.product(WHO, DOES)]
    return plain + [fact.format(n=n) for fact, n in itertools.product(FACTS, range(3, 90, 9))]


def _turn(chance: random.Random) -> Text:
    """Two opposite halves: the second weighs more, as it does with human readers."""
    first, second = chance.sample([(GOOD, 1.0), (BAD, -1.0)], 2)
    halves = [
        f"{chance.choice(SUBJECTS)} {chance.choice(PLAIN)} {chance.choice(words)}"
        for words, _ in (first, second)
    ]
    return _text(chance.choice(TURNS).join(halves) + ".", 0.9 * second[1])


def _text(sentence: str, rating: float) -> Text:
    return Text(sentence[0].upper() + sentence[1:], rating, "made-up", "made-up")

"""Write the card of the judgement: what it was made of, how it fares, what it is bad at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fitting import DECISION_RIDGE, SENTENCE_RIDGE, Measured

from skerry.pipelines.extract import MAX_SENTENCES
from skerry.pipelines.findings import READ
from skerry.pipelines.judgement import Judgement, Logistic

CARD = """\
# answers: how answers are chosen, and when none is given

`answers.json` holds three logistic regressions, {count} numbers, by `scripts/answers/calibrate.py`.
`POST /api/ask` reads the {read} best chunks of a hybrid search, quotes the {sentences} sentences
that are likeliest by the first, and declines when the second gives the documents a chance below
{threshold:.2f} to answer the question at all. The second is of the cosines of `{embedding}`;
with another embedding model the third decides, by words alone.

The chance is that of a question of which nothing is known beforehand, so that both are as likely.
The score of a quote is the chance that its best sentence holds the answer.

## Data
The questions in `benchmarks/questions` over The Rust Programming Language ({documents} files):
150 answerable and 47 unanswerable ones for development, as many for the test. Everything was
chosen on the development half. As a small collection lacks more of any question's words, those
questions were also asked of random parts of the book, of {sizes} files each, which
hold the file that answers; all of these taught together. Ridge penalties on standardised features:
{sentence_ridge:g} and {decision_ridge:g}.

## Measures
Read: the gold sentence is among those that were read. Answered, right: shares of the answerable
questions; right is an answer that holds the gold span (`_questions.contains_gold`), which is the
strict measure: another sentence that also answers does not count. Declined: share of the
unanswerable ones.

| questions asked of | answerable | read | answered | right | unanswerable | declined |
|---|--:|--:|--:|--:|--:|--:|
{rows}

Test, by kind of unanswerable question: {kinds}.

## What it is bad at
- Near misses: a question on what the documents treat, whose answer they do not hold, looks like one
  that they answer. Many of these get a quote on the subject. The quote is verbatim and has its
  place, so that the reader sees that it does not answer.
- Picking the one right sentence: where the chunks found hold it and an answer is given, it is
  quoted in half to two thirds of the cases. A model that reads question and sentence together
  would do better.
- Answers that stand in several places, in tables, or in code; "it", "this" and other words that
  refer to a sentence before.
- Yes or no, how many, comparing, adding up: it quotes what was written, and concludes nothing.
- Other languages than English: the questions were English, the embedding model is.
- Other kinds of text: all was learnt from one technical book in markdown.

## Weights
What one standard deviation more adds to the logarithm of the odds.

{weights}
"""

TITLES = {
    "sentence": "a sentence holds the answer",
    "by_meaning": "the documents answer",
    "by_words": "the documents answer, by words alone",
}


def card(
    judgement: Judgement,
    rows: Mapping[str, Measured],
    kinds: Mapping[str, tuple[int, int]],
    *,
    documents: int,
    sizes: Sequence[int],
) -> str:
    """The card as markdown."""
    parts: dict[str, Logistic] = {
        "sentence": judgement.sentence,
        "by_meaning": judgement.by_meaning.chances,
        "by_words": judgement.by_words.chances,
    }
    return CARD.format(
        count=sum(1 + 3 * len(part.weights) for part in parts.values()),
        read=READ,
        sentences=MAX_SENTENCES,
        threshold=judgement.by_meaning.threshold,
        embedding=judgement.embedding,
        documents=documents,
        sizes=", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}",
        sentence_ridge=SENTENCE_RIDGE,
        decision_ridge=DECISION_RIDGE,
        rows="\n".join(_row(name, one) for name, one in rows.items()),
        kinds=", ".join(f"{kind} {n} of {total} declined" for kind, (n, total) in kinds.items()),
        weights="\n\n".join(_weights(TITLES[name], part) for name, part in parts.items()),
    )


def _row(name: str, one: Measured) -> str:
    return (
        f"| {name} | {one.answerable} | {one.found:.2f} | {one.answered:.2f} | {one.right:.2f} "
        f"| {one.unanswerable} | {one.declined:.2f} |"
    )


def _weights(title: str, part: Logistic) -> str:
    lines = [f"| {title} | mean | deviation | weight |", "|---|--:|--:|--:|"]
    lines += [
        f"| `{name}` | {one.mean:.3f} | {one.deviation:.3f} | {one.weight:+.2f} |"
        for name, one in part.weights.items()
    ]
    return "\n".join([*lines, f"| bias |  |  | {part.bias:+.2f} |"])

"""Write the card of the judgement: what it was made of, how it fares, what it is bad at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fitting import DECISION_RIDGE, SENTENCE_RIDGE, Measured

from skerry.pipelines.answers.findings import CHUNKS
from skerry.pipelines.answers.judgement import Judgement, Logistic
from skerry.pipelines.answers.quotes import MAX_QUOTES, QUOTE_CHARACTERS
from skerry.pipelines.answers.reading import READ_CHARACTERS

CARD = """\
# answers: how answers are chosen, and when none is given

`answers.json` holds four logistic regressions, {count} numbers, by `scripts/answers/calibrate.py`.
`POST /api/ask` takes the sentences of the {chunks} best chunks of a hybrid search. The first
regression says by words and looks which of them are worth reading, {read} characters in all; the
second, by their meaning too, which hold the answer. The {quotes} likeliest are quoted, each with
those around it up to {quote} characters. The third gives the chance that the documents answer the
question at all: below {threshold:.2f} it is declined. It is of the cosines of `{embedding}`;
with another embedding model the fourth decides, by words alone, at {by_words:.2f}.

That chance is one for a question of which nothing is known beforehand, so that both are as likely.
The score of a quote is the chance that its best sentence holds the answer.

## Data
The questions in `benchmarks/questions` over The Rust Programming Language ({documents} files):
150 answerable and 47 unanswerable ones for development, as many for the test. Everything was
chosen on the development half. As a small collection lacks more of any question's words, those
questions were also asked of random parts of the book, of {sizes} files each, which
hold the file that answers; all of these taught together. Ridge penalties on standardised features:
{sentence_ridge:g} and {decision_ridge:g}. Nothing was chosen on the questions over docs/adr,
which are other documents in another style.

## Measures
Found: the gold sentence is in the chunks; read: and the model read it. Answered, right: shares of
the answerable questions; right is an answer that holds the gold span (`_questions.contains_gold`),
which is the strict measure: another sentence that also answers does not count. Declined: share of
the unanswerable ones. AUC: how often an answerable question is given a higher chance than an
unanswerable one. Words: of an answer, in the mean. "Not" counts the unanswerable ones.

| questions asked of | answerable | found | read | answered | right | not | declined | AUC | words |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}

Test, by kind of unanswerable question: {kinds}.

## The trade-off
Where to decline was chosen on the development questions, asked of the whole book, each fifth of
them judged by what the others teach: the shares of right answers and of unanswerable questions
declined have the greatest sum there, so that an answer beside the point weighs as much as a right
one that is kept back. Other thresholds, for the same questions:

| threshold | answered | right | declined |
|--:|--:|--:|--:|
{curve}

## What it is bad at
- Near misses: a question on what the documents treat, whose answer they do not hold, looks like one
  that they answer. Most of these get a quote on the subject. The quote is verbatim and has its
  place, so that the reader sees that it does not answer.
- Picking the one right sentence: it is the likeliest for a quarter of the questions, and among the
  ten likeliest for most. A model that reads question and sentence together would do better.
- Answers that stand in several places, in tables, or in code; "it", "this" and other words that
  refer to a sentence before.
- Yes or no, how many, comparing, adding up: it quotes what was written, and concludes nothing.
- Other languages than English: the questions were English, the embedding model is.
- Other kinds of text: all was learnt from one technical book in markdown. Of the questions over
  docs/adr, dense text asked about in quite other words, half of the answerable ones are declined
  and few answered rightly: the chances do not carry over as they are.

## Weights
What one standard deviation more adds to the logarithm of the odds.

{weights}
"""

TITLES = {
    "worth": "a sentence is worth reading",
    "sentence": "a sentence holds the answer",
    "by_meaning": "the documents answer",
    "by_words": "the documents answer, by words alone",
}


def card(
    judgement: Judgement,
    rows: Mapping[str, Measured],
    *,
    curve: Mapping[float, Measured],
    kinds: Mapping[str, tuple[int, int]],
    documents: int,
    sizes: Sequence[int],
) -> str:
    """The card as markdown."""
    parts: dict[str, Logistic] = {
        "worth": judgement.worth,
        "sentence": judgement.sentence,
        "by_meaning": judgement.by_meaning.chances,
        "by_words": judgement.by_words.chances,
    }
    return CARD.format(
        count=sum(1 + 3 * len(part.weights) for part in parts.values()),
        chunks=CHUNKS,
        read=READ_CHARACTERS,
        quotes=MAX_QUOTES,
        quote=QUOTE_CHARACTERS,
        by_words=judgement.by_words.threshold,
        curve="\n".join(
            f"| {at} | {one.answered:.2f} | {one.right:.2f} | {one.declined:.2f} |"
            for at, one in curve.items()
        ),
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
        f"| {name} | {one.answerable} | {one.found:.2f} | {one.read:.2f} | {one.answered:.2f} "
        f"| {one.right:.2f} | {one.unanswerable} | {one.declined:.2f} | {one.auc:.2f} "
        f"| {one.words:.0f} |"
    )


def _weights(title: str, part: Logistic) -> str:
    lines = [f"| {title} | mean | deviation | weight |", "|---|--:|--:|--:|"]
    lines += [
        f"| `{name}` | {one.mean:.3f} | {one.deviation:.3f} | {one.weight:+.2f} |"
        for name, one in part.weights.items()
    ]
    return "\n".join([*lines, f"| bias |  |  | {part.bias:+.2f} |"])

"""Read the labelled sentences, drop what does not belong, and split them without leaks."""

from __future__ import annotations

import html
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

LABELS = ("positive", "negative", "neutral")
"""The guide's order (S2)."""
NEUTRAL_BELOW = 0.5
VADER = "sentiment/hutto_ICWSM_2014"
VADER_DOMAINS = {
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "film": "movieReviewSnippets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}
UCI = "sentiment-uci"
UCI_DOMAINS = {
    "uci-amazon": "amazon_cells_labelled.txt",
    "uci-imdb": "imdb_labelled.txt",
    "uci-yelp": "yelp_labelled.txt",
}
FOREIGN = re.compile(r"[ăđơưĂĐƠƯ\u1ea0-\u1ef9]")
"""Some copies of the UCI files begin with sixty Vietnamese chat lines that are not of the set."""
UCI_RATING = 2.0
"""The UCI sentences were chosen for a clear opinion: the mean rating such texts have at VADER."""
GET_THE_DATA = """\
Needed in the folder:
  sentiment/hutto_ICWSM_2014/*GroundTruth.txt   from github.com/cjhutto/vaderSentiment (MIT),
                                                additional_resources/hutto_ICWSM_2014.tar.gz
  sentiment-uci/*_labelled.txt                  "Sentiment Labelled Sentences" of the UCI Machine
                                                Learning Repository (CC BY 4.0)
"""


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence, its mean human rating (-4..4) and where it comes from.

    Sentences of one review or article share `group` and never part.
    """

    text: str
    rating: float
    domain: str
    group: str

    @property
    def label(self) -> int:
        """Index into LABELS."""
        return label_of(self.rating)


@dataclass(frozen=True, slots=True)
class Split:
    """Sentences to learn from, to calibrate by, to report on, and those of the held-out domain."""

    train: list[Text]
    validation: list[Text]
    test: list[Text]
    held_out: list[Text]


def label_of(rating: float) -> int:
    """The class of a mean rating: neutral within half a point of zero."""
    if abs(rating) < NEUTRAL_BELOW:
        return 2
    return 0 if rating > 0 else 1


def read_texts(folder: Path) -> list[Text]:
    """All sentences of the two sets; SystemExit says how to get what is missing."""
    files = [folder / VADER / name for name in VADER_DOMAINS.values()]
    files += [folder / UCI / name for name in UCI_DOMAINS.values()]
    if missing := [str(path) for path in files if not path.is_file()]:
        raise SystemExit(f"Missing: {', '.join(missing)}\n{GET_THE_DATA}")
    texts = [text for domain in VADER_DOMAINS for text in _read_vader(folder, domain)]
    return texts + [text for domain in UCI_DOMAINS for text in _read_uci(folder, domain)]


def split(texts: Sequence[Text], *, held_out: str, seed: int, share: float = 0.1) -> Split:
    """Groups of near-duplicates into 1 - 2 `share` train, `share` validation and `share` test.

    A training sentence that has a near-duplicate in the domain held out is dropped.
    """
    inside = [text for text in texts if text.domain != held_out]
    outside = [text for text in texts if text.domain == held_out]
    seen = {fingerprint(text.text) for text in outside}
    parts: dict[str, list[Text]] = {"train": [], "validation": [], "test": []}
    for family in families(inside):
        if any(fingerprint(text.text) in seen for text in family):
            continue
        # Drawn from the family itself, so that it lands in the same part whatever is held out.
        draw = random.Random(f"{seed} {family[0].group}").random()
        part = "validation" if draw < share else "test" if draw < 2 * share else "train"
        parts[part] += family
    return Split(parts["train"], parts["validation"], parts["test"], outside)


def families(texts: Sequence[Text]) -> list[list[Text]]:
    """Sentences joined by group, or by the same words: what must stay in one part."""
    parent = list(range(len(texts)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    first: dict[str, int] = {}
    for at, text in enumerate(texts):
        for key in (f"group {text.group}", f"words {fingerprint(text.text)}"):
            parent[root(at)] = root(first.setdefault(key, at))
    joined: defaultdict[int, list[Text]] = defaultdict(list)
    for at, text in enumerate(texts):
        joined[root(at)].append(text)
    return list(joined.values())


def fingerprint(text: str) -> str:
    """The first twelve words without case and punctuation: equal for near-duplicates."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower())[:12])


def _read_vader(folder: Path, domain: str) -> Iterable[Text]:
    path = folder / VADER / VADER_DOMAINS[domain]
    for line in path.read_text("utf-8-sig").splitlines():
        number, rating, text = line.split("\t", 2)
        yield Text(clean(text), float(rating), domain, f"{domain}-{number.split('_')[0]}")


def _read_uci(folder: Path, domain: str) -> Iterable[Text]:
    lines = (folder / UCI / UCI_DOMAINS[domain]).read_text("utf-8").split("\n")
    foreign = [at for at, line in enumerate(lines[:80]) if FOREIGN.search(line)]
    for at, line in enumerate(lines):
        text, _, label = line.rstrip().rpartition("\t")
        if at <= max(foreign, default=-1) or label not in ("0", "1") or " " not in text.strip():
            continue
        yield Text(clean(text), UCI_RATING * (1 if label == "1" else -1), domain, f"{domain}-{at}")


def clean(text: str) -> str:
    """The text as a user would type it: entities resolved, white space joined."""
    return " ".join(html.unescape(text).split())

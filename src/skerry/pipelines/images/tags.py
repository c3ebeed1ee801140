"""Suggest tags for an image from the tags of the stored images most like it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

TagValue = str | int | float | bool

NEIGHBOURS = 10
# Below this cosine two photos share a scene at most: measured on unrelated photo pairs, where
# 99% lie under it. Such neighbours have no vote.
MIN_SIMILARITY = 0.5


class Neighbour(msgspec.Struct, frozen=True):
    """A stored image's cosine similarity and tags."""

    similarity: float
    tags: dict[str, TagValue]


class SuggestedTag(msgspec.Struct, frozen=True):
    """A tag the neighbours carry; `confidence` in 0..1, `votes` counts those who carry it."""

    name: str
    value: TagValue
    confidence: float
    votes: int


def suggest_tags(neighbours: Iterable[Neighbour]) -> list[SuggestedTag]:
    """Similarity-weighted vote of the nearest neighbours, best first.

    With weights w = s², the confidence of (name, value) is its share of the weight of all voters,
    times the similarity of its best voter: a tag is sure only if the voters agree and at
    least one of them is close.
    """
    voters = [n for n in neighbours if n.similarity >= MIN_SIMILARITY][:NEIGHBOURS]
    if not any(voter.tags for voter in voters):
        return []
    weight = sum(n.similarity**2 for n in voters)
    ballots: dict[tuple[str, str, TagValue], list[float]] = defaultdict(list)
    for voter in voters:
        for name, value in voter.tags.items():
            # The type is part of the key: True, 1 and 1.0 are equal in Python, not in JSON.
            ballots[name, type(value).__name__, value].append(voter.similarity)
    suggestions = [
        SuggestedTag(
            name=name,
            value=value,
            confidence=round(max(votes) * sum(s**2 for s in votes) / weight, 4),
            votes=len(votes),
        )
        for (name, _, value), votes in ballots.items()
    ]
    return sorted(suggestions, key=lambda tag: (-tag.confidence, tag.name, str(tag.value)))

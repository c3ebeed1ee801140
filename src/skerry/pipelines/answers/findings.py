"""Find the chunks and sentences that may answer a question, and how likely it is that they do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from skerry.filters import Filter
from skerry.inference.base import Float32
from skerry.media.words import query_terms
from skerry.pipelines.answers.judgement import Judgement
from skerry.pipelines.answers.reading import Reading, Skimmed, beginning, read, skim, worth_reading
from skerry.pipelines.documents.index import DocumentIndex
from skerry.pipelines.documents.search import DocumentSearch, Evidence, SearchOrder
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.embed import PASSAGE, QUERY
from skerry.pipelines.texts.models import TextModels
from skerry.sql.keywords import KeywordIndex

CHUNKS = 20
"""Chunks whose sentences are looked at: more of them hold few more answers."""
READ = 10
"""Most passages that a language model is given."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found for a question, before anything is answered.

    `chance` is that the documents answer it, by cosines of the model `embedding` where its weights
    are known: below `threshold` they are taken not to.
    """

    evidence: Evidence
    reading: Reading
    embedding: str
    chance: float
    threshold: float


class Finder:
    """Retrieves, and reads what was retrieved."""

    def __init__(
        self,
        search: DocumentSearch,
        keywords: KeywordIndex,
        texts: TextModels,
        index: DocumentIndex,
        *,
        judgement: Judgement,
    ) -> None:
        self._judgement = judgement
        self._search = search
        self._keywords = keywords
        self._texts = texts
        self._index = index

    async def look(
        self, question: str, *, filter: Filter | None = None, deadline: float, stages: Stages
    ) -> Findings | None:
        """None when no document is stored, or passes the filter; raises as `DocumentSearch`."""
        skimmed = await self.skim(question, filter=filter, deadline=deadline, stages=stages)
        if skimmed is None:
            return None
        at = worth_reading(skimmed, self._judgement.worth.chance(skimmed.by_sentence))
        texts = [beginning(skimmed.sentences[one]) for one in at]
        model = self._index.model  # The node may go over to another one meanwhile.
        embedded = partial(self.embedded, model=model, deadline=deadline, stages=stages)
        vectors, asked = await asyncio.gather(
            embedded(texts, use=PASSAGE), embedded([question], use=QUERY)
        )
        with stages.measure("rank"):
            reading = read(skimmed, at, vectors @ asked[0], weights=self._judgement.sentence)
        decision = self._judgement.decision(model)
        chance = decision.chance(reading.overall)
        return Findings(skimmed.evidence, reading, model, chance, decision.threshold)

    async def skim(
        self, question: str, *, filter: Filter | None = None, deadline: float, stages: Stages
    ) -> Skimmed | None:
        """The sentences of the best chunks, before any of them is read; as `look`."""
        order = SearchOrder(question, limit=CHUNKS, filter=filter)
        evidence, counts = await asyncio.gather(
            self._search.evidence(order, deadline=deadline, stages=stages),
            self._keywords.counts(query_terms(question)),
        )
        if not evidence.hits:
            return None
        with stages.measure("rank"):
            return await asyncio.to_thread(skim, evidence, counts)

    async def embedded(
        self, texts: Sequence[str], *, model: str, use: str, deadline: float, stages: Stages
    ) -> Float32:
        """Vectors of length 1, (texts, d); raises as `Embedder.embed`."""
        async with self._texts.embedder(model) as embedder:
            done = await embedder.embed(
                texts, deadline=deadline, stages=stages, long="split", use=embedder.known(use)
            )
        lengths = np.linalg.norm(done.vectors, axis=1, keepdims=True)
        unit: Float32 = done.vectors / np.maximum(lengths, 1e-12)
        return unit

    async def weights(self, text: str) -> dict[str, float]:
        """How much each term of a text weighs for being rare among the documents."""
        return (await self._keywords.counts(query_terms(text))).weights()

"""Have the language model phrase an answer from passages, and check it against them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from skerry.config import Settings
from skerry.errors import BadRequest, ModelNotFound, ModelUnavailable
from skerry.generation.base import Finished, GenerationRequest, Message, Sampling
from skerry.inference.base import Float32
from skerry.media.sentences import sentences
from skerry.media.words import words
from skerry.models.folder import ModelFolder
from skerry.models.manifest import ChatManifest
from skerry.pipelines.answers.extract import Sentence, sentences_of
from skerry.pipelines.answers.findings import Finder, Findings
from skerry.pipelines.answers.replies import Event, Generated, Opened, Piece, Place, Reply, Source
from skerry.pipelines.answers.timed_events import timed_events
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.embed import PASSAGE
from skerry.pipelines.texts.models import OFF, TextModels
from skerry.sql.document_rows import FoundChunk

MAX_TOKENS = 100
STOPS = ("\nQuestion:", "\nContext:")
"""A model that is not made for conversations goes on with the next question."""
LEAST_COSINE = 0.5
LEAST_SHARE = 0.5
"""A statement is supported by a passage with a sentence of such cosine to it, which holds such a
share of its words, weighed by rarity, and all of its numbers."""


@dataclass(frozen=True, slots=True)
class Support:
    """The statements that each passage supports, and those that none does."""

    by_passage: list[list[Place]]
    unsupported: list[Place]


class CitedWriter:
    """Generates with the guide's prompt; a request waits and writes as long as is set."""

    def __init__(self, finder: Finder, texts: TextModels, *, wait_s: float, write_s: float) -> None:
        self._finder = finder
        self._texts = texts
        self._wait_s = wait_s
        self._write_s = write_s

    async def write(
        self, question: str, findings: Findings, *, limit: int, stages: Stages
    ) -> AsyncGenerator[Event, None]:
        """The sources, the answer as it is written, then all of it with what each supports.

        Raises ModelNotFound, ContextLengthExceeded, and what `Slots.generate` raises.
        """
        sources = [
            Source(hit.chunk, hit.chunk.start, hit.chunk.end, hit.score)
            for hit in findings.evidence.hits[:limit]
        ]
        prompt = prompt_for(question, [source.chunk for source in sources])
        pieces: list[str] = []
        end: Finished | None = None
        async with self._texts.generator() as slots:
            yield Opened("generate", sources)
            request = request_for(prompt, chat=slots.info.chat)
            events = timed_events(slots, request, wait_s=self._wait_s, write_s=self._write_s)
            with stages.measure("generate"):
                async with aclosing(events):
                    async for event in events:
                        if isinstance(event, Finished):
                            end = event
                            break
                        pieces.append(event.text)
                        yield Piece(event.text)
            if end is None:
                raise ModelUnavailable("The language model ended without saying how.")
        generated = Generated(prompt, slots.info.model, end.reason)
        yield await self._checked("".join(pieces), sources, findings, generated, stages=stages)

    async def _checked(
        self, text: str, sources: Sequence[Source], findings: Findings, generated: Generated,
        *, stages: Stages,
    ) -> Reply:  # fmt: skip
        if not text.strip():
            reason = f"The language model '{generated.model}' ended before its first word."
            return Reply(
                "generate", None, [], reason=reason, findings=findings, generated=generated
            )
        support = await self._support(text, sources, findings, stages=stages)
        supporting = zip(sources, support.by_passage, strict=True)
        return Reply(
            "generate",
            text,
            [replace(source, supports=places) for source, places in supporting],
            findings=findings,
            generated=replace(generated, unsupported=support.unsupported),
        )

    async def _support(
        self, text: str, sources: Sequence[Source], findings: Findings, *, stages: Stages
    ) -> Support:
        places = statements(text)
        if not places:
            return Support([[] for _ in sources], [])
        # The request's own deadline may have passed while the model wrote.
        deadline = asyncio.get_running_loop().time() + self._wait_s
        # Not all of them were read to find the answer.
        own = sentences_of(findings.evidence.hits[: len(sources)])
        texts = [text[start:end] for start, end in places] + [sentence.text for sentence in own]
        vectors = await self._finder.embedded(
            texts, model=findings.embedding, use=PASSAGE, deadline=deadline, stages=stages
        )
        weights = await self._finder.weights(text)
        with stages.measure("rank"):
            return check(
                text,
                [source.chunk for source in sources],
                similar=vectors[: len(places)] @ vectors[len(places) :].T,
                sentences_read=own,
                weights=weights,
            )


async def can_phrase(folder: ModelFolder, settings: Settings) -> bool:
    """Whether the default language model's card says that it can phrase answers.

    A model behind a URL has no card, and one that is not here yet cannot be asked.
    """
    if settings.generation.type == "remote" or settings.models.chat == OFF:
        return False
    try:
        model = await asyncio.to_thread(folder.get, settings.models.chat)
    except (BadRequest, ModelNotFound, ModelUnavailable):
        return False
    return isinstance(model.manifest, ChatManifest) and model.manifest.answers_questions


def prompt_for(question: str, passages: Sequence[FoundChunk]) -> str:
    """The prompt as the guide has it."""
    context = "\n\n".join(passage.text for passage in passages)
    return f"Context:\n{context}\n\nQuestion: {question}\n\nAnswer:"


def request_for(prompt: str, *, chat: bool) -> GenerationRequest:
    """A model made for conversations is told the prompt: most end a text that they are to go on
    with at once. Always the likeliest token."""
    return GenerationRequest(
        prompt=(Message(role="user", content=prompt),) if chat else prompt,
        sampling=Sampling(max_tokens=MAX_TOKENS, temperature=0.0, stop=STOPS),
    )


def statements(answer: str) -> list[Place]:
    """What is checked one by one: the sentences of the answer that hold a word."""
    return [(start, end) for start, end in sentences(answer) if words(answer[start:end])]


def check(
    answer: str,
    passages: Sequence[FoundChunk],
    *,
    similar: Float32,
    sentences_read: Sequence[Sentence],
    weights: Mapping[str, float],
) -> Support:
    """Which passage supports which statement.

    `similar`, (statements, sentences), are cosines of the statements to sentences of the
    passages; `weights` those of the answer's terms.
    """
    terms = [{word.term for word in words(passage.text)} for passage in passages]
    inside = [_rows_within(passage, sentences_read) for passage in passages]
    support = Support([[] for _ in passages], [])
    for number, (start, end) in enumerate(statements(answer)):
        own = {word.term for word in words(answer[start:end])}
        holders = [
            at
            for at, rows in enumerate(inside)
            if rows
            and float(np.max(similar[number, rows])) >= LEAST_COSINE
            and is_worded(own, terms[at], weights)
        ]
        for at in holders:
            support.by_passage[at].append((start, end))
        if not holders:
            support.unsupported.append((start, end))
    return support


def is_worded(own: Collection[str], terms: Collection[str], weights: Mapping[str, float]) -> bool:
    """Whether a passage's terms are enough of a statement's, by weight, and all its numbers."""
    if any(term not in terms for term in own if term[0].isdigit()):
        return False
    total = sum(weights.get(term, 0.0) for term in own)
    shared = sum(weights.get(term, 0.0) for term in own if term in terms)
    return shared >= LEAST_SHARE * total


def _rows_within(passage: FoundChunk, sentences_read: Sequence[Sentence]) -> list[int]:
    """Sentences of the passage; one in the overlap of two chunks was read with the other."""
    return [
        at
        for at, one in enumerate(sentences_read)
        if one.chunk.document == passage.document
        and passage.start <= one.start
        and one.end <= passage.end
    ]

"""`POST /api/ask`: an answer from the documents with its sources, or the word that there is none.

Streamed, the events are `{"mode", "sources"}`, any number of `{"text"}`, and last the whole answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from skerry.api.contract import AnyAnswer, Exchange, Route, StreamAnswer, json_answer
from skerry.api.faults import ErrorAnswer, error_body
from skerry.api.streaming import sse_event, started, while_connected
from skerry.api.text_bodies import read_text_json
from skerry.errors import FieldRefused
from skerry.filter_json import filter_of
from skerry.pipelines.answers.findings import READ, Findings
from skerry.pipelines.answers.replies import Event, Mode, Opened, Piece, Question, Reply, Source

MAX_QUESTION_CHARACTERS = 10_000
EXPLAINED_SENTENCES = 20
Place = tuple[int, int]


class AskBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /api/ask`.

    `limit` bounds the quotes, or the passages that the language model reads.
    """

    question: Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARACTERS)]
    mode: Literal["auto", "extract", "generate"] = "auto"
    limit: Annotated[int, Meta(ge=1, le=READ)] = 5
    filter: dict[str, Any] | None = None
    stream: bool = False
    explain: bool = False


class SourceJson(msgspec.Struct):
    """What stands from `start` to `end` in the text of the document `id`.

    `supports` are the places in the answer, [start, end), that rest on it.
    """

    id: str
    chunk: int
    start: int
    end: int
    text: str
    score: float
    title: str | None
    page: int | None
    heading: str
    supports: list[Place]


class ReadChunk(msgspec.Struct):
    """A chunk that was read: its score, and those of the searches by meaning and by words."""

    id: str
    chunk: int
    start: int
    end: int
    text: str
    score: float
    meaning: float | None
    words: float | None


class JudgedSentence(msgspec.Struct):
    """A sentence, and the chance that it holds the answer."""

    id: str
    chunk: int
    start: int
    end: int
    text: str
    chance: float


class Explanation(msgspec.Struct):
    """How the answer came to be; times are milliseconds by stage."""

    chunks: list[ReadChunk]
    sentences: list[JudgedSentence]
    features: Mapping[str, float]
    threshold: float | None
    prompt: str | None
    timings: dict[str, float]


class AskAnswer(msgspec.Struct, kw_only=True):
    """The answer, or null and the `reason` where the question is declined.

    `chance`, 0…1, is that the documents answer it. `unsupported` are the places in a generated
    answer, [start, end), that no source supports; `model` generated it.
    """

    answer: str | None
    declined: bool
    reason: str
    sources: list[SourceJson]
    unsupported: list[Place]
    mode: Mode
    chance: float | None
    model: str | None
    finish_reason: str | None
    total_time_ms: float
    search_time_ms: float
    request_id: str
    explain: Explanation | UnsetType = UNSET


class AskOpened(msgspec.Struct):
    """The first event of a stream."""

    mode: Mode
    sources: list[SourceJson]


class AskPiece(msgspec.Struct):
    """The next piece of the answer's text."""

    text: str


async def ask(exchange: Exchange) -> AnyAnswer:
    """The answer, whole or as it comes."""
    body = await read_text_json(exchange, AskBody)
    question = question_of(body)
    if body.stream:
        events = _stream(question, exchange, explain=body.explain)
        return StreamAnswer(
            await started(events, exchange),
            lambda error: sse_event(ErrorAnswer(error_body(error, exchange.request_id))),
        )
    exchange.timed = True
    async with while_connected(exchange), aclosing(_events(question, exchange)) as happened:
        async for event in happened:
            if isinstance(event, Reply):
                return json_answer(_answer(event, exchange, explain=body.explain))
    raise RuntimeError("The question was left without a reply.")


def question_of(body: AskBody) -> Question:
    """What is asked; FieldRefused and UnknownField name what cannot be used."""
    if not body.question.strip():
        raise FieldRefused("'question' holds no words.", field="question")
    given = None if body.filter is None else filter_of(body.filter)
    return Question(body.question, mode=body.mode, limit=body.limit, filter=given)


def _events(question: Question, exchange: Exchange) -> AsyncGenerator[Event, None]:
    return exchange.node.answerer.answer(
        question, deadline=exchange.deadline, stages=exchange.stages
    )


async def _stream(
    question: Question, exchange: Exchange, *, explain: bool
) -> AsyncGenerator[bytes, None]:
    async with aclosing(_events(question, exchange)) as happened:
        async for event in happened:
            match event:
                case Opened():
                    yield sse_event(AskOpened(event.mode, [_source(one) for one in event.sources]))
                case Piece():
                    yield sse_event(AskPiece(event.text))
                case Reply():
                    yield sse_event(_answer(event, exchange, explain=explain))


def _answer(reply: Reply, exchange: Exchange, *, explain: bool) -> AskAnswer:
    stages, generated = exchange.stages, reply.generated
    return AskAnswer(
        answer=reply.text,
        declined=reply.text is None,
        reason=reply.reason,
        sources=[_source(one) for one in reply.sources],
        unsupported=generated.unsupported if generated else [],
        mode=reply.mode,
        chance=round(reply.findings.chance, 4) if reply.findings else None,
        model=generated.model if generated else None,
        finish_reason=generated.finish_reason if generated else None,
        total_time_ms=stages.total_ms(),
        search_time_ms=stages.ms("search", "keywords", "metadata"),
        request_id=exchange.request_id,
        explain=_explanation(reply, exchange) if explain else UNSET,
    )


def _source(source: Source) -> SourceJson:
    chunk = source.chunk
    return SourceJson(
        id=chunk.document,
        chunk=chunk.id,
        start=source.start,
        end=source.end,
        text=source.text,
        score=round(source.score, 4),
        title=chunk.title,
        page=chunk.page,
        heading=chunk.heading,
        supports=source.supports,
    )


def _explanation(reply: Reply, exchange: Exchange) -> Explanation:
    findings = reply.findings
    return Explanation(
        chunks=_chunks(findings) if findings else [],
        sentences=_sentences(findings) if findings else [],
        features={k: round(v, 4) for k, v in findings.reading.overall.items()} if findings else {},
        threshold=findings.threshold if findings else None,
        prompt=reply.generated.prompt if reply.generated else None,
        timings={name: exchange.stages.ms(name) for name in exchange.stages.seconds},
    )


def _chunks(findings: Findings) -> list[ReadChunk]:
    meaning, words = dict(findings.evidence.meaning), dict(findings.evidence.words)
    return [
        ReadChunk(
            id=chunk.document, chunk=chunk.id, start=chunk.start, end=chunk.end, text=chunk.text,
            score=hit.score, meaning=meaning.get(chunk.id), words=words.get(chunk.id),
        )
        for hit in findings.evidence.hits
        for chunk in (hit.chunk,)
    ]  # fmt: skip


def _sentences(findings: Findings) -> list[JudgedSentence]:
    """The likeliest ones, best first."""
    judged = zip(findings.reading.chances, findings.reading.sentences, strict=True)
    best = sorted(judged, key=lambda pair: -pair[0])[:EXPLAINED_SENTENCES]
    return [
        JudgedSentence(
            one.chunk.document, one.chunk.id, one.start, one.end, one.text, round(float(chance), 4)
        )
        for chance, one in best
    ]


ROUTES = [
    Route("POST", "/api/ask", "infer", ask,
          "Answer a question from the documents, with sources, whole or streamed.",
          body="json", body_type=AskBody, answers={200: AskAnswer}, errors=(404, 409, 422),
          streams=True),
]  # fmt: skip

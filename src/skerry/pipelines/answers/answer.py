"""Answer a question from the stored documents, in their own words or in a language model's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from skerry.pipelines.answers.cited import CitedWriter
from skerry.pipelines.answers.findings import Finder, Findings
from skerry.pipelines.answers.quotes import choose
from skerry.pipelines.answers.replies import Event, Mode, Opened, Piece, Question, Reply, Source
from skerry.pipelines.stages import Stages

BETWEEN_QUOTES = "\n\n"


class Answerer:
    """The flow of `POST /api/ask`: retrieve, rank the sentences, then quote or generate.

    `can_phrase` says whether the language model's card lets it answer where nobody asks for it.
    """

    def __init__(
        self, finder: Finder, writer: CitedWriter, *, can_phrase: Callable[[], Awaitable[bool]]
    ) -> None:
        self._finder = finder
        self._writer = writer
        self._can_phrase = can_phrase

    async def answer(
        self, question: Question, *, deadline: float, stages: Stages
    ) -> AsyncGenerator[Event, None]:
        """`Opened`, the answer piece by piece, at last the `Reply`; of a declined one that alone.

        Raises as `Finder.look` and `CitedWriter.write`.
        """
        mode = await self._mode(question)
        findings = await self._finder.look(
            question.text, filter=question.filter, deadline=deadline, stages=stages
        )
        if findings is None or findings.chance < findings.threshold:
            yield Reply(mode, None, [], reason=_why_not(question, findings), findings=findings)
        elif mode == "extract":
            for event in _quoted(question, findings):
                yield event
        else:
            written = self._writer.write(
                question.text, findings, limit=question.limit, stages=stages
            )
            async with aclosing(written):
                async for event in written:
                    yield event

    async def _mode(self, question: Question) -> Mode:
        if question.mode != "auto":
            return question.mode
        return "generate" if await self._can_phrase() else "extract"


def _quoted(question: Question, findings: Findings) -> list[Event]:
    sources: list[Source] = []
    text = ""
    for quote in choose(findings.reading, limit=question.limit):
        start = len(text) + len(BETWEEN_QUOTES) if text else 0
        text = f"{text}{BETWEEN_QUOTES}{quote.text}" if text else quote.text
        place = (start, len(text))
        sources.append(Source(quote.chunk, quote.start, quote.end, quote.score, [place]))
    if not sources:
        reason = "What was found has headings and no sentences."
        return [Reply("extract", None, [], reason=reason, findings=findings)]
    reply = Reply("extract", text, sources, findings=findings)
    return [Opened("extract", sources), Piece(text), reply]


def _why_not(question: Question, findings: Findings | None) -> str:
    if findings is not None:
        return (
            "The documents do not seem to answer this: the chance that they do is "
            f"{findings.chance:.2f}, and below {findings.threshold:.2f} nothing is answered."
        )
    if question.filter is not None:
        return "No stored document passes the filter."
    return "No documents are stored on this node."

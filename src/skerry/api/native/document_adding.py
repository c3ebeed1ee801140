"""Store the documents of one request, a slice at a time, and tell what became of each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from msgspec import UNSET

from skerry.api.contract import Exchange
from skerry.api.faults import error_body
from skerry.api.native.document_given import Given, told_id
from skerry.api.native.document_wire import DocumentResult, Status
from skerry.api.streaming import while_connected
from skerry.api.text_slices import SLICE_CHARACTERS
from skerry.errors import FieldRefused, SkerryError, TaskOff
from skerry.pipelines.documents.chunking import Source
from skerry.pipelines.documents.library import BATCH
from skerry.sql.document_rows import Stored

AT_ONCE = 2
"""Slices under way: while one is written, the next is embedded."""
PATIENCE = 6
"""Of the deadline, for a slice that takes a second or two of an idle machine: where many compute,
who adds documents would rather wait than begin anew. It ends when the client leaves."""
Outcome = Stored | SkerryError


@dataclass(slots=True)
class Slice:
    """Neighbouring documents that are stored together, by their place in the request."""

    sources: dict[int, Source] = field(default_factory=dict)
    characters: int = 0

    def has_room(self, source: Source) -> bool:
        """Whether one more fits; the first does, however long it is."""
        characters = self.characters + len(source.document.text)
        return not self.sources or (len(self.sources) < BATCH and characters <= SLICE_CHARACTERS)

    def add(self, at: int, source: Source) -> None:
        """Take one more."""
        self.sources[at] = source
        self.characters += len(source.document.text)


class Adding:
    """The way of one request's documents into the library; each meets its own fate."""

    def __init__(self, exchange: Exchange, given: Sequence[Given]) -> None:
        self._exchange = exchange
        self._given = given
        self._ids: dict[int, str] = {}
        self._notes: dict[int, tuple[str, ...]] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._failure: SkerryError | None = None

    async def run(self) -> list[Outcome]:
        """Store all that can be; an outcome each, in their order. Ends when the client leaves."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with while_connected(self._exchange), asyncio.TaskGroup() as tasks:
            async for part in self._slices():
                await slots.acquire()
                task = tasks.create_task(self._store(part))
                task.add_done_callback(lambda _: slots.release())
        self._count()
        return [self._outcomes[at] for at in range(len(self._given))]

    def results(self) -> list[DocumentResult]:
        """The outcomes as they are answered."""
        return [self._result(at) for at in range(len(self._given))]

    async def _slices(self) -> AsyncIterator[Slice]:
        part, stored = Slice(), set[str]()
        for at, given in enumerate(self._given):
            if at % BATCH == 0:
                await asyncio.sleep(0)  # Others get their turn while many are refused.
            loaded = await given.load()
            self._ids[at], self._notes[at] = loaded.id, loaded.notes
            if isinstance(loaded.outcome, SkerryError):
                self._outcomes[at] = loaded.outcome
                continue
            if loaded.id in stored:
                self._outcomes[at] = _repeated(loaded.id)
                continue
            stored.add(loaded.id)
            if not part.has_room(loaded.outcome):
                yield part
                part = Slice()
            part.add(at, loaded.outcome)
        if part.sources:
            yield part

    async def _store(self, part: Slice) -> None:
        if self._failure is not None:
            # This one would fail for the same reason, after the same work.
            self._outcomes.update(dict.fromkeys(part.sources, self._failure))
            return
        try:
            stored = await self._add(list(part.sources.values()), part.characters)
        except SkerryError as error:
            await self._refuse(part, error)
            return
        found = {one.id: one for one in stored}
        for at, source in part.sources.items():
            self._outcomes[at] = found[source.document.id]

    async def _refuse(self, part: Slice, error: SkerryError) -> None:
        if is_of_the_node(error):
            self._failure = error
        if is_of_the_node(error) or len(part.sources) == 1:
            self._outcomes.update(dict.fromkeys(part.sources, error))
            return
        # One of them is the reason: alone, the others can be stored.
        for at, source in part.sources.items():
            await self._store(Slice({at: source}, len(source.document.text)))

    async def _add(self, sources: Sequence[Source], characters: int) -> list[Stored]:
        exchange = self._exchange
        # The deadline is for a slice's work: many documents, or a long one, may take their time.
        turns = AT_ONCE * max(1, math.ceil(characters / SLICE_CHARACTERS))
        limit_s = PATIENCE * turns * exchange.node.settings.limits.deadline_s
        deadline = asyncio.get_running_loop().time() + limit_s
        return await exchange.node.documents.add(sources, deadline=deadline, stages=exchange.stages)

    def _count(self) -> None:
        changes = self._exchange.node.metrics.document_changes
        for outcome in self._outcomes.values():
            code = outcome.code if isinstance(outcome, SkerryError) else ""
            changes.labels(status_of(outcome), code).inc()

    def _result(self, at: int) -> DocumentResult:
        outcome, notes = self._outcomes[at], list(self._notes[at]) or UNSET
        told = told_id(self._ids[at])
        if isinstance(outcome, SkerryError):
            error = error_body(outcome, self._exchange.request_id)
            return DocumentResult(told, "failed", error=error)
        return DocumentResult(told, status_of(outcome), chunks=outcome.chunks, notes=notes)


def status_of(outcome: Outcome) -> Status:
    """What became of a document, in the contract's word."""
    if isinstance(outcome, SkerryError):
        return "failed"
    status = "updated" if outcome.outcome == "fields_updated" else outcome.outcome
    assert status != "stale", "the library stores until nothing is stale"
    return status


def is_of_the_node(error: SkerryError) -> bool:
    """Whether every document would meet it: no model, no space left, too much work."""
    return isinstance(error, TaskOff) or error.status not in (400, 413, 415, 422)


def _repeated(id: str) -> FieldRefused:
    return FieldRefused(
        f"The id '{told_id(id)[:80]}' stands twice in this call; the first one counts.",
        field="id",
        remedy="Send another version of a document in a call of its own.",
    )

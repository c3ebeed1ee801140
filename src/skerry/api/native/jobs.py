"""`/api/jobs`: long work with progress; `/api/index`: the vector index's own."""

from __future__ import annotations

import msgspec

from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.jobs.board import Job


class JobJson(msgspec.Struct):
    """Long work as it stands."""

    id: str
    kind: str
    state: str
    done: int
    total: int
    message: str
    created_at: int
    updated_at: int


class JobAnswer(msgspec.Struct):
    """One job."""

    job: JobJson


class JobsAnswer(msgspec.Struct):
    """Jobs, newest first."""

    jobs: list[JobJson]


class RebuildQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of `POST /api/index/rebuild`."""

    model: str | None = None
    """A text-embedding model: all documents are embedded by it, then searched by it."""


def job_json(job: Job) -> JobJson:
    """The wire form of a job."""
    return JobJson(
        job.id, job.kind, job.state, job.done, job.total,
        job.message, job.created_at, job.updated_at,
    )  # fmt: skip


async def list_jobs(exchange: Exchange) -> Answer:
    """Jobs, newest first."""
    return json_answer(JobsAnswer([job_json(job) for job in exchange.node.jobs.list()]))


async def get_job(exchange: Exchange) -> Answer:
    """One job."""
    return json_answer(JobAnswer(job_json(exchange.node.jobs.get(exchange.path["id"]))))


async def cancel_job(exchange: Exchange) -> Answer:
    """Stop a job; what it had done stays."""
    job = await exchange.node.jobs.cancel(exchange.path["id"])
    return json_answer(JobAnswer(job_json(job)))


async def rebuild_index(exchange: Exchange) -> Answer:
    """Build the index anew from the stored vectors, or another one by another model's."""
    query: RebuildQuery = exchange.query
    node = exchange.node
    job = await (node.use_embedding(query.model) if query.model else node.rebuild_index())
    return json_answer(JobAnswer(job_json(job)), status=202)


async def optimize_index(exchange: Exchange) -> Answer:
    """Build the search graph of what is not in it yet."""
    return json_answer(JobAnswer(job_json(await exchange.node.optimize_index())), status=202)


ROUTES = [
    Route("GET", "/api/jobs", "read", list_jobs, "Long work, newest first.",
          answers={200: JobsAnswer}),
    Route("GET", "/api/jobs/{id}", "read", get_job, "One job.", answers={200: JobAnswer},
          errors=(404,)),
    Route("DELETE", "/api/jobs/{id}", "admin", cancel_job, "Cancel a job.",
          answers={200: JobAnswer}, errors=(404,)),
    Route("POST", "/api/index/rebuild", "admin", rebuild_index,
          "Rebuild the image index from its vectors, or move documents to another model.",
          query=RebuildQuery, answers={202: JobAnswer}, errors=(404, 409)),
    Route("POST", "/api/index/optimize", "admin", optimize_index,
          "Optimise the vector index.", answers={202: JobAnswer}, errors=(409,)),
]  # fmt: skip

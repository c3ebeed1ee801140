"""`skerry jobs`: list, show, follow and cancel long work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import moment, note, one_line, print_json, say, table
from skerry.cli.progress import Progress

if TYPE_CHECKING:
    from skerry.client import Client
    from skerry.client.answers import Job

ASK_EVERY_S = 0.5


@click.group(epilog=examples("skerry jobs list", "skerry jobs cancel ID"))
def jobs() -> None:
    """Follow and cancel long work on the node."""


@jobs.command("list")
@node_options
@click.pass_obj
def list_jobs(options: Options) -> None:
    """List jobs, newest first."""
    with open_client(options) as node:
        listed = node.jobs.list()
    if options.json:
        print_json({"jobs": listed})
    elif not listed:
        note("No jobs.")
    else:
        columns = {
            "id": "left", "kind": "left", "state": "left", "done": "right",
            "begun": "left", "message": "left",
        }  # fmt: skip
        rows = [
            (job.id, job.kind, job.state, _done(job), moment(job.created_at), job.message)
            for job in listed
        ]
        table(columns, rows)


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@node_options
@click.pass_obj
def show(options: Options, job_id: str, wait: bool) -> int:
    """Show one job as it stands. With --wait, exit code 1 when it did not succeed."""
    with open_client(options) as node:
        job = node.jobs.get(job_id)
        if wait:
            return follow(node, job, json=options.json)
    _print(job, json=options.json)
    return 0


@jobs.command()
@click.argument("job_id", metavar="ID")
@node_options
@click.pass_obj
def cancel(options: Options, job_id: str) -> None:
    """Ask a job to stop; what it has done so far stays."""
    with open_client(options) as node:
        job = node.jobs.cancel(job_id)
    _print(job, json=options.json)


def follow(node: Client, job: Job, *, json: bool) -> int:
    """Show the job's progress until it ends; the exit code."""
    try:
        with Progress(job.kind, total=job.total) as progress:
            while job.running:
                time.sleep(ASK_EVERY_S)
                job = node.jobs.get(job.id)
                progress.set(job.done, total=job.total, message=one_line(job.message))
    except KeyboardInterrupt:
        note(f"The job goes on; 'skerry jobs show {job.id} --wait' follows it again.")
        raise
    _print(job, json=json)
    return 0 if job.state == "done" else 1


def _print(job: Job, *, json: bool) -> None:
    if json:
        print_json(job)
        return
    message = f": {one_line(job.message)}" if job.message else ""
    say(f"{job.kind} {job.id} {job.state} {_done(job)}{message}")


def _done(job: Job) -> str:
    return f"{job.done:,}/{job.total:,}" if job.total else f"{job.done:,}"

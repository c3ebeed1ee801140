"""`skerry status`: what the node runs and how well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import count, duration, one_line, print_json, say, size, style

if TYPE_CHECKING:
    from skerry.client.answers import IndexStatus, RunningModel, Status

COLOURS = {"ready": "green", "starting": "yellow", "failed": "red"}


@click.command(epilog=examples("skerry status", "skerry status --json"))
@node_options
@click.pass_obj
def status(options: Options) -> None:
    """Show what the node runs and how well. Exit code 3 when no node answers."""
    with open_client(options, patience_s=0) as node:
        answer = node.status()
        url = node.url
    if options.json:
        print_json(answer)
    else:
        _draw(answer, url)


def _draw(answer: Status, url: str) -> None:
    ready = style("ready", fg="green") if answer.ready else style("not ready", fg="red")
    up_for = duration(answer.uptime_s)
    access = "open on loopback" if answer.open else "keys needed"
    _fact("node", f"{url}, version {answer.version}, {ready}, up {up_for}, {access}")
    for name, part in answer.parts.items():
        if part.state != "ready":
            state = style(part.state, fg=COLOURS.get(part.state))
            _fact(name, f"{state}: {one_line(part.reason)}")
    for model in answer.models:
        _fact("model", _model(model))
    _fact("images", f"{answer.images:,}")
    _fact("index", _index(answer.index))
    documents = answer.documents
    if documents.count:
        held = f"{documents.count:,} in {count(documents.chunks, 'chunk')}"
        _fact("docs", f"{held}; index {_index(documents.index)}")
    cache = answer.cache
    _fact("cache", f"{cache.type}, {cache.hit_rate:.0%} hits of {cache.hits + cache.misses:,}")
    _fact("traffic", _traffic(answer))
    engine = answer.engine
    _fact(
        "engine",
        f"{count(engine.streams, 'stream')}, {engine.queue_depth} of {engine.queue_limit} queued, "
        f"{engine.inference_ms_mean:.1f} ms a call",
    )
    data = answer.data
    _fact("data", f"{one_line(data.folder)}, {size(data.free_bytes)} free")


def _fact(name: str, text: str) -> None:
    say(f"{style(f'{name:8}', bold=True)} {text}")


def _model(model: RunningModel) -> str:
    default = ", default" if model.default else ""
    named = f"{one_line(model.name)}{default}: "
    if not model.engine:
        return f"{named}{model.state}"
    where = f"{model.engine} on {model.device}{f', {model.precision}' if model.precision else ''}"
    return f"{named}{where}, {model.state}, loaded in {model.load_ms:.0f} ms"


def _index(index: IndexStatus) -> str:
    behind = f", {index.lag:,} changes behind" if index.lag else ""
    progress = f", {index.progress:.0%}" if index.progress < 1 else ""
    return f"{index.state}{progress}, {count(index.points, 'point')}{behind}"


def _traffic(answer: Status) -> str:
    traffic = answer.traffic
    if not traffic.requests_per_s:
        return f"none in the last {traffic.window_s:.0f} s"
    p50 = "-" if traffic.p50_ms is None else f"{traffic.p50_ms:.1f}"
    p95 = "-" if traffic.p95_ms is None else f"{traffic.p95_ms:.1f}"
    errors = f", {traffic.errors_per_s:.1f} errors/s" if traffic.errors_per_s else ""
    return f"{traffic.requests_per_s:.1f} requests/s, P50 {p50} ms, P95 {p95} ms{errors}"

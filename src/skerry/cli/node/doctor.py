"""`skerry doctor`: check this machine and say what to mend."""

from __future__ import annotations

from collections.abc import Iterator

import click

from skerry.cli.http import settings as settings_of
from skerry.cli.node import checks
from skerry.cli.node.checks import Finding
from skerry.cli.options import Options, data_option, examples, node_options
from skerry.cli.output import one_line, print_json, say, style
from skerry.errors import ConfigError

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(epilog=examples("skerry doctor", "skerry doctor --json"))
@data_option
@node_options
@click.pass_obj
def doctor(options: Options) -> int:
    """Check this machine and the node, and say what to mend. Exit code 1 when a check fails."""
    findings = []
    for finding in examine(options):
        findings.append(finding)
        if not options.json:
            _draw(finding)
    failed = any(finding.state == "fail" for finding in findings)
    if options.json:
        print_json({"ok": not failed, "checks": findings})
    return 1 if failed else 0


def examine(options: Options) -> Iterator[Finding]:
    """All checks, as they are made."""
    yield from checks.machine()
    yield from checks.packages()
    try:
        settings = settings_of(options)
    except ConfigError as error:
        yield Finding("settings", "fail", error.message, error.remedy)
        return
    yield from checks.data(settings)
    yield from checks.models(settings)
    yield from checks.node(options, settings)
    yield from checks.redis(settings)


def _draw(finding: Finding) -> None:
    state = style(f"{finding.state:4}", fg=COLOURS[finding.state], bold=True)
    say(f"{state}  {finding.name:14} {one_line(finding.text)}")
    if finding.remedy:
        say(f"{'':20} {one_line(finding.remedy)}")

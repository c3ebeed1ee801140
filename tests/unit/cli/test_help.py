from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from skerry.cli.main import COMMANDS, root

# Each costs more than the help itself.
HEAVY = (
    "numpy", "rich", "openvino", "onnx", "onnxruntime", "starlette", "uvicorn", "httpx", "msgspec",
    "apsw", "PIL", "watchfiles", "prometheus_client", "asyncio", "platformdirs",
    "concurrent.futures",
)  # fmt: skip


def _commands() -> Iterator[tuple[str, click.Command]]:
    waiting: list[tuple[str, click.Command]] = [("skerry", root)]
    while waiting:
        name, command = waiting.pop(0)
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None
                waiting.append((f"{name} {child}", found))


ALL = dict(_commands())


@pytest.mark.parametrize("name", [name for name, c in ALL.items() if isinstance(c, click.Group)])
def test_help_of_a_group_loads_nothing_heavy(name: str) -> None:
    arguments = [*name.split()[1:], "--help"]
    code = (
        f"import sys; from skerry.cli.main import run; code = run({arguments});"
        f"sys.stderr.write(repr([m for m in {HEAVY} if m in sys.modules])); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]")


@pytest.mark.parametrize("name", ["skerry", *(f"skerry {name}" for name in COMMANDS)])
def test_help_ends_with_the_first_commands_to_type(name: str) -> None:
    text = ALL[name].get_help(click.Context(ALL[name], info_name=name, terminal_width=100))
    *_, end = text.rpartition("Try:")
    assert end.strip().startswith(("skerry", "curl"))
    assert all(line.startswith("    ") for line in end.strip("\n").splitlines())


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = ALL[name]
    assert command.help
    names = [parameter.name for parameter in command.params]
    assert len(set(names)) == len(names)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize(
    "name",
    [name for name, c in ALL.items() if not isinstance(c, click.Group) and name != "skerry up"],
)
def test_every_command_prints_json_on_demand(name: str) -> None:
    assert any(parameter.name == "json" for parameter in ALL[name].params)


def test_summaries_fit_their_line() -> None:
    assert all(len(entry.summary) <= 70 for entry in COMMANDS.values())


def test_the_thresholds_that_help_states_are_the_ones_that_count() -> None:
    from skerry.inference.comparison import MIN_AGREEMENT, MIN_COSINE

    command = ALL["skerry quantize"]
    text = command.get_help(click.Context(command, terminal_width=200))
    assert f"[default: {MIN_AGREEMENT}]" in text
    assert f"[default: {MIN_COSINE}]" in text

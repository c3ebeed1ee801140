"""Write docs/reference/ from the code: settings, metrics, HTTP, command line, errors."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import msgspec

from skerry import config, errors
from skerry.api.app import routes
from skerry.api.openapi import document
from skerry.backends import BACKENDS, backend_class
from skerry.cli.main import root as cli
from skerry.metrics import Metrics

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
HEAD = "<!-- Written by scripts/reference.py: change the code, then run `make docs`. -->\n"


def pages() -> dict[str, str]:
    """File name -> text of every page."""
    made = {
        "settings.md": settings_page(),
        "metrics.md": metrics_page(),
        "http.md": http_page(),
        "cli.md": cli_page(),
        "errors.md": errors_page(),
    }
    return {name: HEAD + text for name, text in made.items()}


def settings_page() -> str:
    """Each table and key, with its default and its meaning."""
    lines = [
        "# Settings\n",
        "Defaults < `skerry.toml` < environment < flags. An unknown key is refused, with the "
        "nearest right one. `[table] key` is `SKERRY_TABLE_KEY` in the environment; "
        "`SKERRY_DATA` and `SKERRY_MODELS` are short for `SKERRY_NODE_DATA` and "
        "`SKERRY_MODELS_FOLDER`.\n",
    ]
    for table in msgspec.structs.fields(config.Settings):
        if isinstance(table.type, type) and issubclass(table.type, msgspec.Struct):
            lines += [f"## `[{table.name}]`\n", f"{inspect.getdoc(table.type)}\n"]
            lines += [*_keys(table.type), ""]
    for seam in ("vectors", "kv"):
        lines += [f"## `[{seam}]`\n", "`type` names the backend; the other keys are its own.\n"]
        for name in BACKENDS[seam]:
            options = backend_class(seam, name).Options
            lines += [f'### `type = "{name}"`\n', f"{inspect.getdoc(options)}\n"]
            lines += [*_keys(options), ""]
    return "\n".join(lines)


def _keys(struct: type[msgspec.Struct]) -> list[str]:
    fields = msgspec.structs.fields(struct)
    if not fields:
        return ["No keys.\n"]
    told = attribute_docs(struct)
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for field in fields:
        default = field.default
        if default is msgspec.NODEFAULT:
            factory = field.default_factory
            default = factory() if callable(factory) else "required"
        rows.append(f"| `{field.name}` | `{default!r}` | {told.get(field.name, '')} |")
    return rows


def attribute_docs(struct: type) -> dict[str, str]:
    """The string that stands under each field of a class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(struct)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    found = {}
    for field, text in pairwise(body):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and is_text:
            found[field.target.id] = " ".join(text.value.value.split())  # type: ignore
    return found


def metrics_page() -> str:
    """Each metric, with its type, labels and meaning."""
    rows = [
        "# Metrics\n",
        "`GET /metrics`, in the Prometheus text format. The process and platform metrics of "
        "`prometheus_client` stand beside these.\n",
        "| name | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    for name, kind, text, labels in Metrics().described():
        rows.append(f"| `{name}` | {kind} | {', '.join(labels) or '–'} | {text} |")
    return "\n".join(rows) + "\n"


def http_page() -> str:
    """Each route, with scope, parameters, bodies and answers."""
    lines = ["# HTTP\n", "The machine-readable form is `GET /openapi.json`.\n"]
    described = document(routes())
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            lines += [f"## `{method.upper()} {path}`\n", f"{operation['summary']}\n"]
            lines.append(f"Scope: {operation['x-skerry-scope']}.\n")
            lines += _parameters(operation)
            lines += _bodies(operation)
    return "\n".join(lines)


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    shown = [p for p in operation["parameters"] if p["in"] == "query"]
    if shown:
        yield "| query | default | bounds |\n|---|---|---|"
        for parameter in shown:
            schema = parameter["schema"]
            bounds = ", ".join(
                f"{key} {schema[key]}" for key in ("minimum", "maximum") if key in schema
            )
            default = schema.get("default")
            name = parameter["name"]
            for free in schema.get("patternProperties", ()):
                name = free.removeprefix("^").replace("\\.", ".").replace(".+", "NAME")
            yield f"| `{name}` | {'–' if default is None else f'`{default}`'} | {bounds} |"
        yield ""


def _bodies(operation: dict[str, Any]) -> Iterator[str]:
    if "requestBody" in operation:
        kinds = ", ".join(f"`{kind}`" for kind in operation["requestBody"]["content"])
        yield f"Body: {kinds}.\n"
    answers = [
        f"{status} {_shape(answer)}".strip() for status, answer in operation["responses"].items()
    ]
    yield "Answers: " + ", ".join(answers) + ".\n"


def _shape(answer: dict[str, Any]) -> str:
    for kind, content in answer.get("content", {}).items():
        schema = content["schema"]
        name = schema.get("anyOf", [schema])[0].get("$ref", "").rpartition("/")[2]
        return f"`{name or kind}`" if not name.endswith("ErrorAnswer") else ""
    return ""


def cli_page() -> str:
    """Each command's help."""
    lines = ["# Command line\n"]
    for command, name in walk(cli, "skerry"):
        with click.Context(command, info_name=name, terminal_width=100) as context:
            lines += [f"## `{name}`\n", f"```text\n{command.get_help(context)}\n```\n"]
    return "\n".join(lines)


def walk(command: click.Command, name: str) -> Iterator[tuple[click.Command, str]]:
    """A command and all below it."""
    yield command, name
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None, child
            yield from walk(found, f"{name} {child}")


def errors_page() -> str:
    """Each error code, with its status and remedy."""
    rows = ["# Errors\n", "| code | status | meaning | remedy |", "|---|---|---|---|"]
    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    for kind in kinds:
        if issubclass(kind, errors.SkerryError) and kind is not errors.SkerryError:
            told = (inspect.getdoc(kind) or "").splitlines()[0]
            rows.append(f"| `{kind.code}` | {kind.status} | {told} | {kind.default_remedy} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(f"docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

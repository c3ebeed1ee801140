"""Everything a user can set, call, read or meet is documented, and the pages are up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import click
import msgspec
import pytest

from skerry import config
from skerry.api.app import routes
from skerry.cli.main import root as cli
from skerry.metrics import Metrics

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_what_the_code_says(reference: ModuleType) -> None:
    for name, text in reference.pages().items():
        page = ROOT / "docs" / "reference" / name
        assert page.is_file() and page.read_text("utf-8") == text, f"{name}: run `make docs`"


def test_every_setting_says_what_it_means(reference: ModuleType) -> None:
    for table in msgspec.structs.fields(config.Settings):
        if isinstance(table.type, type) and issubclass(table.type, msgspec.Struct):
            told = reference.attribute_docs(table.type)
            missing = set(table.type.__struct_fields__) - set(told)
            assert not missing, f"[{table.name}] {missing}"


def test_every_metric_and_route_has_a_description() -> None:
    assert all(text and text.endswith(".") for _, _, text, _ in Metrics().described())
    assert all(route.summary for route in routes())


def test_every_command_and_option_has_help(reference: ModuleType) -> None:
    for command, name in reference.walk(cli, "skerry"):
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts}"

"""The programs in examples/, as a reader runs them, and their classes as one who copies them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from uuid import uuid4

import httpx
import pytest

from running_node import ROOT, RunningNode


def run(name: str, node: RunningNode, *arguments: str) -> str:
    """What the program prints."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        env={**clean, "SKERRY_URL": node.url}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / f"examples/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up there.
    monkeypatch.setitem(sys.modules, spec.name, loaded)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def http(text_node: RunningNode) -> Iterator[httpx.Client]:
    with text_node.client() as client:
        yield client


def test_the_semantic_search_program_finds_by_meaning(text_node: RunningNode) -> None:
    first, *_ = run("semantic_search.py", text_node).split("\n\n")
    question, best, *_ = first.splitlines()
    assert question == "which language is safe with memory?"
    assert "memory safety" in best
    assert run("semantic_search.py", text_node).splitlines()[1] == best


def test_semantic_search_is_narrowed_by_category_and_date(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = module("semantic_search", monkeypatch)
    category = uuid4().hex
    documents = [
        example.Document(f"Report {n} of {category} on tides.", category, 1_000 * n)
        for n in range(1, 250)
    ]
    engine = example.SemanticSearchEngine(http)
    engine.index_documents(documents)
    found = engine.search("tides", limit=5, category=category, min_date=248_000)
    assert {result.document for result in found} == set(documents[-2:])
    assert [result.score for result in found] == sorted((r.score for r in found), reverse=True)
    assert engine.search("tides", category=f"not-{category}") == []
    with pytest.raises(ValueError, match="1 could not be stored"):
        engine.index_documents([example.Document("", category, 1), *documents[:1]])


def test_no_node_is_said_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/semantic_search.py")],
        env={**os.environ, "SKERRY_URL": "http://127.0.0.1:9"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("No node answers")


def test_the_rag_program_answers_from_its_documents_and_declines_the_rest(
    text_node: RunningNode, http: httpx.Client
) -> None:
    _skip_without_answers(http)
    told = run("rag.py", text_node, "Why does the pump rattle?", "Who won the cup in 1974?")
    answered, _, declined = told.partition("Who won the cup in 1974?\n")
    assert "air in its pipe" in answered
    assert "[noise, " in answered
    assert declined.strip().startswith("Not in here.")


def test_rag_lets_the_model_phrase_the_answer_when_asked_to(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _skip_without_answers(http)
    example = module("rag", monkeypatch)
    category = uuid4().hex
    texts = {f"{category}/{name}": text for name, text in example.MANUAL.items()}
    rag = example.RagSystem(http)
    rag.add_documents(texts, category=category)
    answer = rag.query("How long does a new filter last?", category=category, mode="generate")
    assert answer.text
    assert {source["id"] for source in answer.sources} <= texts.keys()


def _skip_without_answers(http: httpx.Client) -> None:
    if http.post("/api/ask", json={"question": "anything?"}).status_code == 404:
        pytest.skip("This node has no POST /api/ask yet.")

"""`skerry chat`, `classify` and `embed` against a real node with its real text models."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from running_node import RunningNode

Run = Callable[..., subprocess.CompletedProcess[str]]
TEXTS = [
    "I love this shop, everything was wonderful!",
    'They said "never again", and I agree: terrible.',
    "Déjà vu, 再见",
    "It opens at nine.",
]


@pytest.fixture
def skerry(text_node: RunningNode, tmp_path: Path) -> Run:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
    environ = {**clean, "SKERRY_URL": text_node.url, "SKERRY_DATA": str(text_node.data)}

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "skerry", *arguments],
            cwd=tmp_path, env=environ, input=stdin, capture_output=True, text=True, timeout=100,
        )  # fmt: skip

    return run


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_line_of_a_file_gets_a_label_and_probabilities(skerry: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n", "utf-8")
    done = skerry("classify", "texts.txt")
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)
    assert [record["text"] for record in found] == TEXTS
    assert [record["label"] for record in found[:2]] == ["positive", "negative"]
    for record in found:
        shares = [record[label] for label in ("positive", "negative", "neutral")]
        assert abs(sum(shares) - 1) < 1e-3


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize("cut", [0, 7])
def test_a_run_that_broke_off_goes_on_where_it_was(
    skerry: Run, tmp_path: Path, name: str, cut: int
) -> None:
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "text"], *enumerate([*TEXTS, "a line\nand another"])])
    assert skerry("classify", "in.csv", "-o", name).returncode == 0
    whole = (tmp_path / name).read_bytes()
    # What a kill may leave: some whole records, and a part of the next one.
    third = whole.find("Déjà".encode())
    start = whole.rfind(b"\n", 0, third) + 1
    (tmp_path / name).write_bytes(whole[: start + cut])
    again = skerry("classify", "in.csv", "-o", name)
    assert "holds 2 records" in again.stderr
    assert labels(tmp_path / name) == labels_in(whole, name)


def labels(path: Path) -> list[tuple[str, str]]:
    return labels_in(path.read_bytes(), path.name)


def labels_in(data: bytes, name: str) -> list[tuple[str, str]]:
    text = data.decode()
    rows = csv.DictReader(text.splitlines(keepends=True)) if name.endswith("csv") else records(text)
    return [(str(row["text"]), str(row["label"])) for row in rows]


def test_an_output_of_other_texts_is_left_alone(skerry: Run, tmp_path: Path) -> None:
    assert skerry("classify", "-", "-o", "out.jsonl", stdin="one\ntwo\n").returncode == 0
    held = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "other.txt").write_text("three\nfour\nfive\n")
    done = skerry("classify", "other.txt", "-o", "out.jsonl")
    assert done.returncode == 1
    assert "other texts" in done.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == held


def test_texts_become_vectors_that_can_be_compared(skerry: Run) -> None:
    texts = ["a cat sleeps", "a kitten naps", "the stock market fell"]
    lines = "".join(json.dumps({"q": text}) + "\n" for text in texts)
    done = skerry("embed", "-", stdin=lines)
    # stdin has no name to tell its form by: lines.
    assert done.returncode == 0, done.stderr
    vectors = np.array([record["embedding"] for record in records(done.stdout)])
    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_a_missing_column_is_named_with_those_there_are(skerry: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    done = skerry("embed", "in.csv", "--column", "text")
    assert done.returncode == 1
    assert "'text'" in done.stderr
    assert "a, b" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_question_is_answered_in_words_and_in_json(skerry: Run) -> None:
    asked = ("chat", "What is the capital of France?", "--temperature", "0", "--max-tokens", "20")
    done = skerry(*asked)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    told = json.loads(skerry(*asked, "--json").stdout)
    assert told["answer"].strip() == done.stdout.strip()
    assert told["completion_tokens"] > 0
    assert told["finish_reason"] in ("stop", "length")
    cut = skerry("chat", "Count to one hundred.", "--max-tokens", "3")
    assert "cut" in cut.stderr


def test_nothing_to_ask_is_wrong_use(skerry: Run) -> None:
    done = skerry("chat", "-", stdin="  \n")
    assert done.returncode == 2
    assert "nothing to ask" in done.stderr


def test_a_model_that_is_not_there_is_named_with_a_remedy(skerry: Run) -> None:
    done = skerry("chat", "hello", "--model", "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr

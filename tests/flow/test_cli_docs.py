"""`skerry docs` and `skerry search` against a real node with its real embedding model."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from running_node import RunningNode

Run = Callable[..., "Done"]
MANUALS = {
    "pumps/p3.md": "# Pump P3\n\nUnscrew the lid and lift the filter out.\n\n"
    "## Noise\n\nA rattling pump has air in its pipe; open the valve to let it escape.\n",
    "ovens/o1.txt": "The oven reaches two hundred degrees in nine minutes.",
    "index.html": "<title>All manuals</title><p>Ask for paper copies at the front desk.</p>",
}


class Done:
    """What a command printed, and its exit code."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()

    @property
    def json(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)


@pytest.fixture
def environ(text_node: RunningNode) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
    clean.pop("NO_COLOR", None)
    return {**clean, "SKERRY_URL": text_node.url, "SKERRY_DATA": str(text_node.data)}


@pytest.fixture
def skerry(environ: dict[str, str], tmp_path: Path) -> Run:
    def run(*arguments: str | Path, stdin: bytes = b"") -> Done:
        done = subprocess.run(
            command(*arguments), cwd=tmp_path, env=environ, input=stdin, capture_output=True,
            timeout=100,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr
        return Done(done)

    return run


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "skerry", *map(str, arguments)]


@pytest.fixture
def prefix() -> str:
    """Keeps a test's documents apart: the node is shared."""
    return f"{uuid4().hex}/"


@pytest.fixture
def manuals(tmp_path: Path) -> Path:
    folder = tmp_path / "manuals"
    for name, text in MANUALS.items():
        write(folder / name, text)
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def counts(done: Done) -> dict[str, int]:
    names = ("created", "updated", "unchanged", "failed", "not_reached")
    return {name: done.json[name] for name in names if done.json[name]}


def test_a_folder_becomes_documents_once_and_only_what_changed_is_stored_again(
    skerry: Run, manuals: Path, prefix: str
) -> None:
    labels = ("--prefix", prefix, "--category-from-folder", "--metadata", "edition=3")
    first = skerry("docs", "add", manuals, *labels)
    assert (first.code, first.out) == (0, "Stored 3 documents.\n"), first.err
    shown = skerry("docs", "show", f"{prefix}pumps/p3.md", "--json").json
    assert (shown["category"], shown["metadata"]) == ("pumps", {"edition": 3})
    write(manuals / "ovens/o1.txt", "The oven now reaches two hundred degrees in six minutes.")
    again = skerry("docs", "add", manuals, *labels, "--json")
    assert counts(again) == {"updated": 1, "unchanged": 2}
    found = skerry("docs", "show", f"{prefix}ovens/o1.txt", "--text").out
    assert "six minutes" in found


def test_what_cannot_be_read_is_named_the_rest_is_stored_and_the_exit_code_is_1(
    skerry: Run, manuals: Path, prefix: str
) -> None:
    write(manuals / "broken.pdf", "no PDF at all")
    write(manuals / "empty.txt", "")
    write(manuals / "photo.jpg", "no document by name")
    write(manuals / ".hidden.txt", "not looked at")
    done = skerry("docs", "add", manuals, "--prefix", prefix)
    assert done.code == 1
    assert done.out == "Stored 3 documents, 2 could not be stored.\n"
    assert re.search(r"broken\.pdf: .*PDF", done.err)
    assert re.search(r"empty\.txt: ", done.err)
    assert "Ignored 1 file, no document by name: photo.jpg" in done.err
    told = skerry("docs", "add", manuals, "--prefix", prefix, "--json").json
    codes = {Path(one["place"]).name: one["error"]["code"] for one in told["documents"]
             if one["status"] == "failed"}  # fmt: skip
    assert codes == {"broken.pdf": "document_unreadable", "empty.txt": "document_unreadable"}


def test_rows_of_jsonl_and_csv_become_documents_each_for_itself(
    skerry: Run, tmp_path: Path, prefix: str
) -> None:
    lines = [
        '{"id": "a", "text": "Lifts are checked in May.", "metadata": {"floor": 2}}',
        '{"text": "Without an id.", "category": "own"}',
        '{"id": "c", "text": NaN}',
        '{"id": "d"}',
        "",
        '{"id": "e", "text": "Stairs are cleaned on Mondays.", "colour": "red"}',
    ]
    write(tmp_path / "rows.jsonl", "\n".join(lines))
    write(tmp_path / "faq.csv", 'id,text,price\nq1,"When?\nNow.",7\nq2,Where?,cheap\nq3,,\nx,y,z,1')
    done = skerry(
        "docs", "add", "rows.jsonl", "faq.csv", "--prefix", prefix, "--category", "house", "--json"
    )
    assert done.code == 1
    assert counts(done) == {"created": 4, "failed": 5}
    failed = [one["place"] for one in done.json["documents"] if one["status"] == "failed"]
    assert sorted(failed) == [
        "faq.csv, line 5", "faq.csv, line 6", "rows.jsonl, line 3", "rows.jsonl, line 4",
        "rows.jsonl, line 6",
    ]  # fmt: skip

    def show(name: str) -> Any:
        return skerry("docs", "show", f"{prefix}{name}", "--json").json

    assert (show("a")["category"], show("a")["metadata"]) == ("house", {"floor": 2})
    assert show("rows.jsonl#2")["category"] == "own"
    assert (show("q1")["text"], show("q1")["metadata"]) == ("When?\nNow.", {"price": 7})
    assert show("q2")["metadata"] == {"price": "cheap"}


def test_two_files_that_would_be_one_document_are_refused_before_anything_is_sent(
    skerry: Run, tmp_path: Path, prefix: str
) -> None:
    write(tmp_path / "a/README.md", "One.")
    write(tmp_path / "b/README.md", "Two.")
    done = skerry("docs", "add", "a", "b", "--prefix", prefix)
    assert done.code == 1
    assert "README.md would both be" in done.err
    assert "--prefix" in done.err
    assert skerry("docs", "show", f"{prefix}README.md").code == 1
    assert skerry("docs", "add", "a", "a/README.md", "--prefix", prefix).code == 0


def test_search_prints_place_score_and_passage_and_says_more_in_json(
    skerry: Run, manuals: Path, prefix: str
) -> None:
    category = prefix[:8]
    assert skerry("docs", "add", manuals, "--prefix", prefix, "--category", category).code == 0
    asked = ("search", "rattling", "pump", "--category", category, "--limit", "1")
    done = skerry(*asked)
    head, *passage = done.out.splitlines()
    assert re.fullmatch(rf"[01]\.\d{{3}}  Pump P3  {prefix}pumps/p3\.md.*", head)
    assert any("air in its pipe" in line for line in passage)
    assert "\x1b" not in done.out
    (result,) = skerry(*asked, "--json").json["results"]
    marked = [result["text"][start:end].lower() for start, end in result["highlights"]]
    assert "rattling" in marked
    assert "pump" in marked
    other = skerry("search", "rattling pump", "--category", "none-of-this-name")
    assert (other.code, other.out, other.err) == (0, "", "No document matches.\n")


def test_search_is_narrowed_by_date_metadata_and_mode(
    skerry: Run, tmp_path: Path, prefix: str
) -> None:
    category = prefix[:8]
    rows = [
        {"id": f"{year}", "text": f"Report on tides of {year}.", "category": category,
         "timestamp": f"{year}-06-01T00:00:00Z", "metadata": {"year": year}}
        for year in (2020, 2022, 2024)
    ]  # fmt: skip
    write(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, rows)))
    assert skerry("docs", "add", "rows.jsonl", "--prefix", prefix).code == 0

    def years(*narrow: str) -> list[str]:
        done = skerry("search", "tides", "--category", category, *narrow, "--json")
        assert done.code == 0, done.err
        return sorted(one["id"].removeprefix(prefix) for one in done.json["results"])

    assert years() == ["2020", "2022", "2024"]
    assert years("--since", "2022-01-01") == ["2022", "2024"]
    assert years("--since", "2022-01-01", "--before", "2023-01-01") == ["2022"]
    assert years("--filter", '{"metadata": {"year": [2020, 2024]}}') == ["2020", "2024"]
    qdrant = '{"must_not": [{"key": "metadata.year", "match": {"value": 2022}}]}'
    assert years("--filter", qdrant, "--since", "2021-01-01") == ["2024"]
    assert years("--mode", "keyword", "--limit", "2")[1:]
    listed = skerry("docs", "list", "--category", category, "--since", "2022-01-01", "--json")
    assert [one["id"] for one in listed.json["documents"]] == [f"{prefix}2024", f"{prefix}2022"]
    unknown = skerry("search", "tides", "--filter", '{"catgory": "x"}')
    assert unknown.code == 1
    assert "category" in unknown.err
    unsupported = skerry("search", "tides", "--filter", '{"must": [{"nested": {}}]}')
    assert unsupported.code == 1
    assert "'nested'" in unsupported.err


def test_grouping_keeps_the_best_passage_of_each_document(
    skerry: Run, tmp_path: Path, prefix: str
) -> None:
    category = prefix[:8]
    chapters = "\n\n".join(
        f"# Chapter {n}\n\n" + f"The lighthouse keeper counts {n} ships. " * 40 for n in range(4)
    )
    write(tmp_path / "long.md", chapters)
    write(tmp_path / "short.md", "The lighthouse is white.")
    added = skerry("docs", "add", "long.md", "short.md", "--prefix", prefix, "--category", category)
    assert added.code == 0
    asked = ("search", "lighthouse", "--category", category, "--json")
    assert len(skerry(*asked).json["results"]) > 2
    grouped = [one["id"] for one in skerry(*asked, "--group").json["results"]]
    assert sorted(grouped) == [f"{prefix}long.md", f"{prefix}short.md"]


def test_found_words_are_bold_on_a_terminal(
    skerry: Run, environ: dict[str, str], manuals: Path, prefix: str
) -> None:
    category = prefix[:8]
    assert skerry("docs", "add", manuals, "--prefix", prefix, "--category", category).code == 0
    shown = on_terminal(command("search", "oven degrees", "--category", category), environ)
    assert "\x1b[1moven\x1b[0m" in shown
    plain = on_terminal(
        command("search", "oven degrees", "--category", category), {**environ, "NO_COLOR": "1"}
    )
    assert "oven" in plain
    assert "\x1b[1m" not in plain


def on_terminal(arguments: list[str], environ: dict[str, str]) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(arguments, env=environ, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        read = bytearray()
        while piece := _read(ours):
            read += piece
    os.close(ours)
    assert process.returncode == 0, read
    return read.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other side is closed
        return b""


def test_list_show_and_remove_speak_of_what_is_stored(
    skerry: Run, manuals: Path, prefix: str
) -> None:
    category = prefix[:8]
    add = ("docs", "add", manuals, "--prefix", prefix, "--category", category)
    assert skerry(*add, "--timestamp-from-file").code == 0
    listed = skerry("docs", "list", "--category", category, "--limit", "2")
    assert len(listed.out.splitlines()) == 3
    assert "--all shows the others" in listed.err
    everything = skerry("docs", "list", "--category", category, "--all", "--json").json
    assert sorted(one["id"] for one in everything["documents"]) == sorted(
        f"{prefix}{name}" for name in MANUALS
    )
    assert all(one["timestamp"] for one in everything["documents"])
    shown = skerry("docs", "show", f"{prefix}pumps/p3.md", "--chunks").out
    assert "Pump P3" in shown
    assert re.search(r"\d+-\d+  ", shown)
    gone = skerry("docs", "remove", f"{prefix}index.html", f"{prefix}nothing")
    assert (gone.code, gone.out) == (1, "Removed 1 document.\n")
    assert "nothing" in gone.err
    unasked = skerry("docs", "remove", "--category", category)
    assert unasked.code == 2
    assert "--yes" in unasked.err
    assert skerry("docs", "remove", "--category", category, "--yes", "--json").json == {
        "removed_count": 2
    }
    left = skerry("docs", "list", "--category", category)
    assert (left.out, left.err) == ("", "No documents match.\n")
    assert skerry("docs", "remove").code == 2


@contextmanager
def watching(arguments: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        arguments, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Status and id of the next change."""
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    return told["status"], told.get("id", told["place"])


def test_watching_follows_what_appears_changes_and_is_deleted(
    skerry: Run, environ: dict[str, str], tmp_path: Path, prefix: str
) -> None:
    folder = tmp_path / "inbox"
    first = write(folder / "deep/first.md", "The first one.")
    options = ("--delete", "--settle", "0.2", "--prefix", prefix, "--json")
    with watching(command("docs", "watch", folder, *options), environ) as process:
        assert line(process) == ("created", f"{prefix}deep/first.md")
        write(folder / "second.txt", "The second one.")
        assert line(process) == ("created", f"{prefix}second.txt")
        write(folder / "second.txt", "The second one, changed.")
        assert line(process) == ("updated", f"{prefix}second.txt")
        rows = write(folder / "rows.csv", "id,text\na,One row.\nb,Another row.\n")
        assert {line(process), line(process)} == {
            ("created", f"{prefix}a"),
            ("created", f"{prefix}b"),
        }
        write(rows, "id,text\nb,Another row.\n")
        assert line(process) == ("unchanged", f"{prefix}b")
        assert line(process) == ("removed", f"{prefix}a")
        first.unlink()
        first.parent.rmdir()
        assert line(process) == ("removed", f"{prefix}deep/first.md")
        write(folder / "third.pdf", "no PDF")
        assert line(process)[0] == "failed"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert skerry("docs", "show", f"{prefix}deep/first.md").code == 1
    assert "changed" in skerry("docs", "show", f"{prefix}second.txt", "--text").out


def test_without_delete_a_deleted_file_stays_stored_and_that_is_said(
    skerry: Run, environ: dict[str, str], tmp_path: Path, prefix: str
) -> None:
    kept = write(tmp_path / "inbox/kept.md", "Nobody forgets this.")
    options = ("--settle", "0.1", "--prefix", prefix, "--json")
    with watching(command("docs", "watch", kept.parent, *options), environ) as process:
        assert line(process) == ("created", f"{prefix}kept.md")
        kept.unlink()
        assert process.stderr is not None
        while b"--delete" not in process.stderr.readline():
            pass
    assert skerry("docs", "show", f"{prefix}kept.md").code == 0


def test_no_node_is_exit_code_3_with_a_remedy(skerry: Run, manuals: Path) -> None:
    for arguments in (("docs", "add", manuals), ("search", "pump"), ("docs", "list")):
        done = skerry(*arguments, "--url", "http://127.0.0.1:9")
        assert done.code == 3
        assert "skerry up" in done.err
        assert done.out == ""

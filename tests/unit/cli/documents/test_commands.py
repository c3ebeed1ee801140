from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from client.scripted import Reply, Request, refusal, serving

import skerry
from skerry.cli.documents.add import DocumentReport
from skerry.cli.documents.files import BATCH, Labels, Load, check_ids, loads, looks_like_document
from skerry.cli.documents.options import filter_of
from skerry.cli.documents.search import pieces
from skerry.cli.documents.store import DocumentStore, Done, Outcome
from skerry.cli.documents.watch import Mirror
from skerry.cli.folders import Candidate, Gathered, gather
from skerry.cli.output import printable
from skerry.cli.parameters import json_object, scalar
from skerry.errors import BadRequest, StorageFull


def _write(path: Path, content: str | bytes = "words") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _rows(path: Path, labels: Labels | None = None) -> list[Any]:
    return [row for load in loads([Candidate(path)], labels or Labels()) for row in load.rows]


def test_names_tell_documents_from_the_rest_of_a_folder(tmp_path: Path) -> None:
    for name in ("a.md", "b/c.PDF", "b/d.jsonl", "photo.jpg", "b/e.txt~", ".git/f.txt"):
        _write(tmp_path / name)
    found = gather([tmp_path], accepts=looks_like_document)
    assert [one.relative for one in found.candidates] == ["a.md", "b/c.PDF", "b/d.jsonl"]
    assert [path.name for path in found.ignored] == ["photo.jpg", "e.txt~"]


def test_the_folder_is_the_category_where_there_is_one() -> None:
    labels = Labels(category="rest", category_from_folder=True, prefix="m/")
    top, below = Candidate(Path("x/a.md")), Candidate(Path("x/y/z/b.md"), "y/z")
    assert [labels.category_of(one) for one in (top, below)] == ["rest", "y/z"]
    assert [labels.id_of(one) for one in (top, below)] == ["m/a.md", "m/y/z/b.md"]
    assert Labels(category="all").category_of(below) == "all"


def test_files_that_would_share_an_id_are_refused_with_both_names(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "a/x.md"), _write(tmp_path / "b/x.md")
    with pytest.raises(BadRequest, match=r"a/x\.md and .*b/x\.md") as caught:
        check_ids([Candidate(first), Candidate(second)], Labels())
    assert "--prefix" in caught.value.remedy
    check_ids([Candidate(first), Candidate(first)], Labels())


def test_rows_without_an_id_are_known_by_their_place(tmp_path: Path) -> None:
    lines = _write(tmp_path / "in.jsonl", '{"text": "one"}\n\n{"text": "two", "id": 7}\n')
    first, second = _rows(lines, Labels(prefix="p/"))
    assert (first.fields["id"], second.fields["id"]) == ("p/in.jsonl#1", "p/7")
    assert (first.place, second.place) == (f"{lines}, line 1", f"{lines}, line 3")


def test_a_rows_own_fields_win_over_what_the_command_says(tmp_path: Path) -> None:
    row = {"text": "x", "category": "own", "metadata": {"a": 1}}
    path = _write(tmp_path / "in.jsonl", json.dumps(row))
    (read,) = _rows(path, Labels(category="all", metadata={"a": 0, "b": 2}))
    assert read.fields["category"] == "own"
    assert read.fields["metadata"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("line", ['{"a": NaN}', "[1]", "nothing", '{"a": "\\ud800"}', "[" * 9999])
def test_a_line_that_is_no_object_fails_alone(tmp_path: Path, line: str) -> None:
    path = _write(tmp_path / "in.jsonl", f'{{"text": "one"}}\n{line}\n{{"text": "two"}}\n')
    one, broken, two = _rows(path)
    assert one.error is None
    assert two.error is None
    assert broken.error is not None
    assert broken.place.endswith("line 2")


def test_cells_become_fields_and_metadata_as_json_would_have_them(tmp_path: Path) -> None:
    table = 'id,text,timestamp,price,code,free,note\nq,"a\nb",1700000000,2.50,007,true,\n'
    (row,) = _rows(_write(tmp_path / "in.csv", table.encode("utf-8-sig")))
    metadata = {"price": 2.5, "code": "007", "free": True}
    assert row.fields == {
        "id": "q",
        "text": "a\nb",
        "timestamp": 1_700_000_000,
        "metadata": metadata,
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id,body\n1,x\n", "no column 'text'; its columns: id, body"),
        ("text\nx,y\n", "more cells than the head has names"),
        ("", "no column 'text'"),
        ("text\n", "no rows"),
        (b"text\nfine\n\xff\xfe\n", "not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(
    tmp_path: Path, content: str | bytes, reason: str
) -> None:
    errors = [str(row.error) for row in _rows(_write(tmp_path / "in.csv", content)) if row.error]
    assert len(errors) == 1
    assert reason in errors[0]


def test_rows_travel_in_batches_and_the_last_one_ends_the_file(tmp_path: Path) -> None:
    lines = "".join(f'{{"text": "{n}"}}\n' for n in range(2 * BATCH + 1))
    many = _write(tmp_path / "in.jsonl", lines)
    large = _write(tmp_path / "long.jsonl", f'{{"text": "{"x" * 300_000}"}}\n' * 3)
    made = list(loads([Candidate(many), Candidate(large)], Labels()))
    assert [(len(load.rows), load.ends) for load in made] == [
        (BATCH, False), (BATCH, False), (1, True), (1, False), (1, False), (1, True),
    ]  # fmt: skip


def _store(
    script: Callable[[Request], Reply], load: Load, labels: Labels | None = None
) -> tuple[list[Outcome], int]:
    with serving(script) as node, skerry.connect(node.url, patience_s=0) as client:
        done = DocumentStore(client, labels or Labels()).store(load)
        return list(done.outcomes), len(node.requests)


def _accept(request: Request) -> Reply:
    given = json.loads(request.body)
    stored = [{"id": one["id"], "status": "created", "chunks": 1} for one in given]
    return Reply(201, {"documents": stored})


def test_a_row_that_spoils_its_request_is_found_and_the_others_are_stored(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        return (
            refusal(413, "payload_too_large", "no") if b"bad" in request.body else _accept(request)
        )

    lines = "".join(f'{{"id": "{n}", "text": "{"bad" if n == 5 else n}"}}\n' for n in range(8))
    path = _write(tmp_path / "in.jsonl", lines)
    (load,) = loads([Candidate(path)], Labels())
    outcomes, _ = _store(script, load)
    assert sorted(one.id for one in outcomes if one.status == "created") == list("0123467")
    (failed,) = [one for one in outcomes if one.error]
    assert (failed.place, str(failed.error)) == (f"{path}, line 6", "no")


def test_what_a_single_row_is_refused_for_comes_with_its_place(tmp_path: Path) -> None:
    error = {"code": "field_refused", "message": "'text' is empty.", "remedy": "Write some."}
    reply = Reply(400, {"documents": [{"id": "a", "status": "failed", "error": error}]})
    path = _write(tmp_path / "in.jsonl", '{"id": "a", "text": ""}')
    (load,) = loads([Candidate(path)], Labels())
    (outcome,), _ = _store(lambda _: reply, load)
    assert (outcome.status, outcome.id, str(outcome.error)) == ("failed", "a", "'text' is empty.")
    assert outcome.error is not None
    assert outcome.error.code == "field_refused"


def test_one_documents_deadline_is_its_own_and_a_full_disk_is_everybodys(tmp_path: Path) -> None:
    load = Load(Candidate(_write(tmp_path / "long.txt")))
    (outcome,), _ = _store(lambda _: refusal(503, "deadline_exceeded", "too long"), load)
    assert str(outcome.error) == "too long"
    with pytest.raises(StorageFull):
        _store(lambda _: refusal(507, "storage_full", "full"), load)


def test_a_file_that_cannot_be_opened_or_named_fails_without_a_request(tmp_path: Path) -> None:
    gone = Load(Candidate(tmp_path / "gone.md"))
    (outcome,), requests = _store(_accept, gone)
    assert "No such file" in str(outcome.error)
    unnamed = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md"))
    try:
        _write(unnamed)
    except OSError:
        pytest.skip("This file system takes UTF-8 names only.")
    (named,), more = _store(_accept, Load(Candidate(unnamed)))
    assert "not UTF-8" in str(named.error)
    assert requests == more == 0


def test_a_run_that_is_cut_short_reports_what_it_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [Candidate(_write(tmp_path / f"{n}.md")) for n in range(5)]
    report = DocumentReport(Gathered(files))
    with pytest.raises(StorageFull), report.shown(json=False):
        for one in files[:2]:
            outcome = Outcome(str(one.path), "unchanged", one.relative, notes=("Guessed.",))
            report.take(Done(Load(one), [outcome]))
        raise StorageFull("full")
    printed = capsys.readouterr()
    assert printed.out == (
        "Stored 0 documents, 2 unchanged, 3 not reached: the same command goes on from here.\n"
    )
    assert f"{files[1].path}: Guessed." in printed.err


def test_rows_that_leave_a_file_are_removed_only_when_all_of_it_was_read(tmp_path: Path) -> None:
    removed: list[str] = []

    def script(request: Request) -> Reply:
        if request.method == "DELETE":
            removed.append(request.path.rpartition("/")[2])
            return Reply(204, raw=b"")
        return _accept(request)

    path = tmp_path / "in.jsonl"
    with serving(script) as node, skerry.connect(node.url) as client:
        mirror = Mirror(client, Labels(), delete=True)

        def store(content: str) -> list[str]:
            _write(path, content)
            return [outcome.status for outcome in mirror.store(Candidate(path))]

        a, b, c = (json.dumps({"id": name, "text": "x"}) + "\n" for name in "abc")
        assert store(a + b + c) == ["created"] * 3
        assert store(a + "broken\n") == ["created", "failed"]
        assert removed == []
        assert store(a + b) == ["created", "created", "removed"]
        assert removed == ["c"]
        assert [one.id for one in mirror.gone(path)] == ["a", "b"]
        assert removed == ["c", "a", "b"]


def _given(**given: Any) -> dict[str, Any]:
    return {"category": None, "since": None, "before": None, "wanted": None, **given}


def test_the_short_filter_and_qdrants_are_both_narrowed_by_the_options() -> None:
    assert filter_of(_given()) == {}
    short = filter_of(_given(category="a", since=5, wanted={"metadata": {"x": 1}}))
    assert short == {"category": "a", "timestamp": {"gte": 5}, "metadata": {"x": 1}}
    qdrant = {"should": [{"key": "id", "match": {"value": "a"}}]}
    assert filter_of(_given(wanted=qdrant)) == qdrant
    assert filter_of(_given(category="a", before=9, wanted=qdrant)) == {
        "must": [
            qdrant,
            {"key": "category", "match": {"value": "a"}},
            {"key": "timestamp", "range": {"lt": 9}},
        ]
    }
    with pytest.raises(click.UsageError, match="'category' too"):
        filter_of(_given(category="a", wanted={"category": "b"}))


def test_metadata_values_are_what_json_would_make_of_them() -> None:
    written = {"3": 3, "-2.5": -2.5, "true": True, "007": "007", '"3"': "3", "NaN": "NaN", "": "",
               "1e999": "1e999", "a=b": "a=b"}  # fmt: skip
    assert {text: scalar(f"x={text}")[1] for text in written} == written


@pytest.mark.parametrize("text", ["{", "[]", '{"a": NaN}', "3"])
def test_a_filter_that_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        json_object(text)


def test_a_passage_is_cut_at_the_found_words_and_loses_nothing() -> None:
    text = "the oven is hot"
    assert list(pieces(text, [(0, 3), (4, 8)])) == [
        ("", False), ("the", True), (" ", False), ("oven", True), (" is hot", False),
    ]  # fmt: skip
    assert "".join(piece for piece, _ in pieces(text, [])) == text
    assert printable("a\x1b[31m\n\tb\r") == "a�[31m\n\tb�"

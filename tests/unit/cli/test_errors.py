from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from client.scripted import Reply, Request, refusal, serving

from .conftest import RunCli

NOWHERE = "http://127.0.0.1:9"
STATUS = {"version": "0.1.0", "ready": True}
IMAGE = {
    "id": 7, "sha256": "00" * 32, "filename": "\x1b[31mred\n.png", "media_type": "image/png",
    "width": 1, "height": 1, "bytes": 9, "created_at": 1, "uploaded_by": "ann", "tags": {},
}  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("images", "list"),
        ("images", "remove", "1"),
        ("recognize", "-"),
        ("keys", "list", "--url", NOWHERE),
        ("jobs", "list"),
        ("index", "status"),
        ("--json", "status"),
    ],
)
def test_without_a_node_the_code_is_3_and_one_line_says_how_to_start_one(
    cli: RunCli, arguments: tuple[str, ...]
) -> None:
    done = cli(*arguments, SKERRY_URL=NOWHERE)
    assert done.returncode == 3
    assert done.stdout == ""
    error, remedy = done.stderr.splitlines()
    assert error == f"error: No node answers at {NOWHERE}."
    assert "skerry up" in remedy


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("imags",), "Did you mean 'images'?"),
        (("images", "lst"), "list"),
        (("status", "--jsn"), "--json"),
        (("images", "list", "--limit", "0"), "--limit"),
        (("images", "list", "--tag", "shelf"), "NAME=VALUE"),
        (("images", "list", "--after", "yesterday"), "2026-01-31"),
        (("images", "show", "cat.jpg"), "neither an id nor a sha256"),
        (("images", "tag", "shelf=3"), "Name the image"),
        (("images", "tag", "7"), "Name a tag"),
        (("keys", "create", "--name", "x", "--scope", "all"), "admin"),
        (("keys", "create", "--name", "x", "--scope", "read", "--expires", "2001-01-01"), "past"),
        (("status", "--url", "ftp://x"), "not the URL of a node"),
        (("up", "--port", "70000"), "--port"),
    ],
)
def test_wrong_use_is_code_2_with_a_line_that_helps(
    cli: RunCli, arguments: tuple[str, ...], said: str
) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_wrong_is_named_without_traceback(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "skerry.toml").write_text("[node]\nprot = 1\n")
    done = cli("up")
    assert done.returncode == 2
    assert done.stderr == "error: Unknown setting 'node.prot'.\n  Did you mean 'port'?\n"


def test_the_nodes_error_and_remedy_are_shown_and_the_code_is_1(cli: RunCli) -> None:
    reply = refusal(404, "image_not_found", "No image 9.", remedy="See the list.")
    with serving(lambda _: reply) as node:
        done = cli("images", "show", "9", "--url", node.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: No image 9.\n  See the list.\n"


def test_an_unforeseen_error_is_a_line_and_a_traceback_only_when_debugging(cli: RunCli) -> None:
    # An id that no table can hold as a number: the reader, not the node, is at fault.
    reply = Reply(200, {"images": [{**IMAGE, "created_at": 10**18}], "total": 1})
    with serving(lambda _: reply) as node:
        done = cli("images", "list", "--url", node.url)
        debugged = cli("images", "list", "--url", node.url, SKERRY_LOG_LEVEL="debug")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Unexpected ")
    assert "Traceback" not in done.stderr
    assert "Traceback" in debugged.stderr


def test_shared_options_count_before_and_after_the_command(cli: RunCli) -> None:
    with serving(lambda _: Reply(200, STATUS)) as node:
        before = cli("--json", "--url", node.url, "status")
        after = cli("status", "--json", "--url", node.url)
    assert json.loads(before.stdout) == json.loads(after.stdout)
    assert json.loads(after.stdout)["ready"] is True


def test_names_from_outside_cannot_steer_the_terminal(cli: RunCli) -> None:
    with serving(lambda _: Reply(200, {"images": [IMAGE], "total": 1})) as node:
        done = cli("images", "list", "--url", node.url)
        as_json = cli("images", "list", "--json", "--url", node.url)
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 2
    assert json.loads(as_json.stdout)["images"][0]["filename"] == IMAGE["filename"]


def test_nothing_is_cut_off_in_a_pipe(cli: RunCli) -> None:
    name = "a" * 300 + ".png"
    with serving(lambda _: Reply(200, {"images": [{**IMAGE, "filename": name}]})) as node:
        assert name in cli("images", "list", "--url", node.url, COLUMNS="40").stdout


def test_a_reader_that_leaves_is_no_error(cli_environ: dict[str, str]) -> None:
    many = Reply(200, {"images": [IMAGE] * 3000})
    with serving(lambda _: many) as node:
        command = [sys.executable, "-m", "skerry", "images", "list", "--url", node.url]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli_environ
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(timeout=20)
        process.stderr.close()


def test_ctrl_c_ends_quietly_with_130(cli_environ: dict[str, str], tmp_path: Path) -> None:
    with serving(lambda _: Reply(200, STATUS)) as node:
        process = subprocess.Popen(
            [sys.executable, "-m", "skerry", "images", "watch", str(tmp_path), "--url", node.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=cli_environ,
        )
        assert process.stderr is not None
        assert b"Watching" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out, err.strip()) == (b"", b"")


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_that_want_it(
    cli_environ: dict[str, str], environ: dict[str, str], coloured: bool
) -> None:
    with serving(lambda _: Reply(200, STATUS)) as node:
        text = _on_a_terminal(["status", "--url", node.url], {**cli_environ, **environ})
    assert "ready" in text
    assert ("\x1b[" in text) is coloured


def _on_a_terminal(arguments: list[str], environ: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "skerry", *arguments], stdout=theirs, stderr=theirs, env=environ
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        text += piece
    process.wait(timeout=20)
    os.close(ours)
    return text.decode()


def test_the_local_key_is_sent_to_this_machine_only(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "local.key").write_text("sk_local\n")

    def script(request: Request) -> Reply:
        sent = request.headers.get("Authorization")
        return Reply(200, STATUS) if sent == "Bearer sk_local" else refusal(401, "unauthorized", "")

    with serving(script) as node:
        assert cli("status", "--url", node.url).returncode == 0
        assert cli("status", "--url", node.url, SKERRY_KEY="sk_other").returncode == 1

"""A download continues where it broke off, and is used only when its digest is right."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from skerry.errors import ChecksumMismatch, SourceUnreachable
from skerry.models.downloads import fetch_url
from skerry.models.progress import Progress

from .serving import serve

DATA = os.urandom(1 << 20)
DIGEST = hashlib.sha256(DATA).hexdigest()


def fetch(url: str, folder: Path, sha256: str = DIGEST) -> tuple[Path, list[Progress]]:
    seen: list[Progress] = []
    return fetch_url(url, into=folder, sha256=sha256, progress=seen.append), seen


def test_a_whole_file_arrives_with_its_progress(tmp_path: Path) -> None:
    with serve(DATA) as files:
        path, seen = fetch(files.url, tmp_path)
    assert path.read_bytes() == DATA
    assert seen[-2:] == [Progress("fetch", len(DATA), len(DATA)), Progress("check")]
    assert [p.done_bytes for p in seen[:-1]] == sorted(p.done_bytes for p in seen[:-1])


def test_what_an_earlier_attempt_left_is_continued(tmp_path: Path) -> None:
    (tmp_path / f"{DIGEST}.part").write_bytes(DATA[:300_000])
    with serve(DATA) as files:
        path, seen = fetch(files.url, tmp_path)
    assert files.ranges == ["bytes=300000-"]
    assert path.read_bytes() == DATA
    assert seen[-2].total_bytes == len(DATA)


def test_a_connection_that_breaks_is_taken_up_again(tmp_path: Path) -> None:
    with serve(DATA) as files:
        files.stop_at = 500_000
        path, _ = fetch(files.url, tmp_path)
    assert path.read_bytes() == DATA
    assert files.ranges == [None, "bytes=500000-"]


def test_a_server_without_ranges_is_read_from_the_beginning(tmp_path: Path) -> None:
    (tmp_path / f"{DIGEST}.part").write_bytes(b"x" * 10)
    with serve(DATA) as files:
        files.ignore_range = True
        path, _ = fetch(files.url, tmp_path)
    assert path.read_bytes() == DATA


def test_a_part_that_is_already_whole_is_accepted(tmp_path: Path) -> None:
    (tmp_path / f"{DIGEST}.part").write_bytes(DATA)
    with serve(DATA) as files:
        path, _ = fetch(files.url, tmp_path)
    assert path.read_bytes() == DATA


def test_a_wrong_digest_names_both_and_leaves_nothing(tmp_path: Path) -> None:
    wanted = "0" * 64
    with serve(DATA) as files, pytest.raises(ChecksumMismatch) as caught:
        fetch(files.url, tmp_path, wanted)
    assert DIGEST in caught.value.message
    assert wanted in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_the_server_is_told(tmp_path: Path) -> None:
    with serve(DATA) as files:
        files.status = 404
        with pytest.raises(SourceUnreachable, match="answered 404"):
            fetch(files.url, tmp_path)


def test_nobody_at_the_address_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match=r"Cannot fetch http://127\.0\.0\.1:9/"):
        fetch("http://127.0.0.1:9/m.safetensors", tmp_path)

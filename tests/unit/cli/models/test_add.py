"""`skerry models add FOLDER` takes an encoder of texts, and each kind its own options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from models.text_making import TinyEncoder

from ..conftest import RunCli


def test_a_folder_is_added_under_its_own_name_and_says_what_it_assumed(
    cli: RunCli, tmp_path: Path
) -> None:
    TinyEncoder().save(tmp_path / "Tiny-BERT v1.5")
    done = cli("models", "add", "Tiny-BERT v1.5", "--prefix", "query=ask: ")
    assert done.returncode == 0, done.stderr
    assert "tiny-bert-v1.5 is installed: text-embedding, 32 features." in done.stdout
    assert "No pooling is stated" in done.stderr
    manifest = json.loads((tmp_path / "data/models/tiny-bert-v1.5/manifest.json").read_text())
    assert manifest["prefixes"] == {"query": "ask: "}


def test_a_classifier_takes_its_labels_from_a_file(cli: RunCli, tmp_path: Path) -> None:
    TinyEncoder(head="guide").save(tmp_path / "mine")
    (tmp_path / "labels.txt").write_text("yes\nno\nperhaps\n")
    done = cli("models", "add", "mine", "--labels", "labels.txt", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["task"], facts["labels"]) == ("text-classification", 3)
    listed = json.loads(cli("models", "list", "--json").stdout)["models"]
    assert [model["name"] for model in listed if model["installed"]] == ["mine"]


def test_an_encoder_of_a_classifier_can_be_added_for_embeddings(
    cli: RunCli, tmp_path: Path
) -> None:
    TinyEncoder("roberta", head="own").save(tmp_path / "mine")
    done = cli("models", "add", "mine", "--task", "text-embedding", "--pooling", "cls")
    assert done.returncode == 0, done.stderr
    assert "classifier.dense.bias" in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--size", "64", "--size is for an image model"),
        ("--task", "image-classification", "text-embedding or text-classification"),
        ("--prefix", "query", "USE=TEXT"),
        ("--pooling", "max", "'max'"),
    ],
)
def test_an_option_that_does_not_belong_to_a_folder_is_wrong_use(
    cli: RunCli, tmp_path: Path, option: str, value: str, words: str
) -> None:
    TinyEncoder().save(tmp_path / "mine")
    done = cli("models", "add", "mine", option, value)
    assert done.returncode == 2
    assert words in done.stderr


def test_pooling_is_refused_for_an_image_model(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    done = cli("models", "add", "m.onnx", "--labels", "imagenet-1k", "--pooling", "mean")
    assert done.returncode == 2
    assert "a folder of a text model" in done.stderr


def test_a_folder_without_a_model_is_refused_in_one_line(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = cli("models", "add", "empty")
    assert done.returncode == 1
    assert done.stderr.startswith("error: There are no weights in empty.")


def test_a_bert_without_its_config_is_added_and_the_assumptions_are_said(
    cli: RunCli, tmp_path: Path
) -> None:
    TinyEncoder(head="guide", hidden=128, heads=2).save(tmp_path / "mine", form="pickle")
    (tmp_path / "mine" / "config.json").unlink()
    done = cli("models", "add", "mine")
    assert done.returncode == 0, done.stderr
    assert "Assumed, as no tensor tells them: 2 heads of 64" in done.stderr
    assert "taken as positive, negative, neutral; --labels gives others" in done.stderr
    assert "mine is installed: text-classification, 3 classes." in done.stdout


def test_an_encoder_that_only_its_config_tells_is_refused_with_the_remedy(
    cli: RunCli, tmp_path: Path
) -> None:
    TinyEncoder("roberta", hidden=128, heads=2).save(tmp_path / "mine")
    (tmp_path / "mine" / "config.json").unlink()
    done = cli("models", "add", "mine")
    assert done.returncode == 1
    assert "Add the config.json" in done.stderr


def test_the_list_says_what_each_model_does_and_which_is_a_default(cli: RunCli) -> None:
    listed = {m["name"]: m for m in json.loads(cli("models", "list", "--json").stdout)["models"]}
    defaults = {name for name, model in listed.items() if model["default"]}
    assert defaults == {
        "efficientnet-lite2",
        "all-minilm-l6-v2",
        "minilm-sentiment",
        "smollm2-135m-instruct",
    }
    assert "text-embedding" in cli("models", "list").stdout

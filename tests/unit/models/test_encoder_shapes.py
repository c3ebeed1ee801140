"""A BERT without `config.json` is told by its tensors; what is not clearly one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from skerry.errors import ModelInvalid
from skerry.models.encoder_shapes import config_by_tensors
from skerry.models.manifest import ClassifierManifest, EmbeddingManifest, of_task

from .test_encoders import OnnxEncoder, add, run
from .text_making import TinyEncoder


def tiny_bert(**changes: Any) -> TinyEncoder:
    """Two heads of 64, as its authors' BERTs have."""
    sizes: dict[str, Any] = {"hidden": 128, "heads": 2, "inner": 96}
    return TinyEncoder(**sizes | changes)


def without_config(folder: Path) -> Path:
    (folder / "config.json").unlink()
    return folder


@pytest.mark.parametrize("head", ["", "own", "guide"])
def test_all_that_config_json_would_say_is_told_by_the_tensors(head: str) -> None:
    tiny = tiny_bert(head=head, layers=3, types=3)
    shape = config_by_tensors(tiny.weights).shape
    assert (shape.hidden, shape.heads, shape.layers, shape.intermediate) == (128, 2, 3, 96)
    assert (shape.vocabulary, shape.positions, shape.token_types) == (300, 40, 3)
    assert (shape.family, shape.activation, shape.epsilon) == ("bert", "gelu", 1e-12)


@pytest.mark.parametrize("form", ["safetensors", "pickle"])
@pytest.mark.parametrize("head", ["", "own", "guide"])
def test_the_model_is_the_same_with_and_without_its_config(
    tmp_path: Path, head: str, form: str
) -> None:
    tiny = tiny_bert(head=head)
    stated = add(tmp_path, tiny.save(tmp_path / "a", form=form), "stated")
    told = add(tmp_path, without_config(tiny.save(tmp_path / "b", form=form)), "told")
    assert told.manifest.variants == stated.manifest.variants
    ids, mask = tiny.batch(4, 12, 7)
    found = run(told, ids, mask)
    np.testing.assert_array_equal(found, run(stated, ids, mask))
    expected = tiny.logits(ids, mask) if head else tiny.embedding(ids, mask, "mean")
    assert np.allclose(found, expected, atol=1e-5)
    for model in (stated, told):
        manifest = model.manifest
        assert isinstance(manifest, EmbeddingManifest | ClassifierManifest)
        assert (manifest.text.max_tokens, manifest.text.pad_id) == (40, 0)


def test_what_was_assumed_lies_in_the_manifest(tmp_path: Path) -> None:
    folder = without_config(tiny_bert(head="guide").save(tmp_path / "folder"))
    card = add(tmp_path, folder).manifest.card
    assert "There is no config.json. By its tensors this is a BERT: 2 layers" in card
    assert "2 heads of 64, the activation gelu, an epsilon of 1e-12" in card
    assert "the classifier reads the vector of [CLS]" in card
    pooled = without_config(tiny_bert(head="own").save(tmp_path / "pooled"))
    assert "reads the pooler's output" in add(tmp_path, pooled, "pooled").manifest.card
    stated = tiny_bert(head="guide").save(tmp_path / "stated")
    assert "Assumed" not in add(tmp_path, stated, "stated").manifest.card


def test_the_guides_files_are_enough(tmp_path: Path) -> None:
    """`pytorch_model.bin` and `tokenizer.json`, and nothing else."""
    tiny = tiny_bert(head="guide")
    folder = without_config(tiny.save(tmp_path / "folder", form="pickle"))
    word_pieces = add(tmp_path, folder, "spare").folder / "tokenizer.json"
    (folder / "tokenizer.json").write_bytes(word_pieces.read_bytes())
    for name in ("vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    assert sorted(path.name for path in folder.iterdir()) == ["pytorch_model.bin", "tokenizer.json"]
    manifest = of_task(add(tmp_path, folder), ClassifierManifest).manifest
    assert manifest.labels == ("positive", "negative", "neutral")


def test_classes_without_names_are_numbered_and_labels_name_them(tmp_path: Path) -> None:
    folder = without_config(tiny_bert(head="own", classes=4).save(tmp_path / "folder"))
    numbered = of_task(add(tmp_path, folder), ClassifierManifest).manifest
    assert numbered.labels == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3")
    assert "LABEL_0 to LABEL_3" in numbered.card
    named = add(tmp_path, folder, "named", labels=("n", "e", "s", "w"))
    assert of_task(named, ClassifierManifest).manifest.labels == ("n", "e", "s", "w")


UNCLEAR: dict[str, TinyEncoder] = {
    "not divisible into heads of 64": TinyEncoder(),
    "6 heads of 64 or, as MiniLM's, 12 of 32": tiny_bert(hidden=384, heads=12),
    "one type of tokens, as RoBERTa": tiny_bert(types=1),
    "not named as BERT's": tiny_bert(family="distilbert"),
    "'pre_classifier.bias' is none of BERT's": tiny_bert(family="distilbert", head="own"),
    "'classifier.dense.bias' is none of BERT's": tiny_bert(family="roberta", head="own"),
}


@pytest.mark.parametrize("words", UNCLEAR)
def test_what_is_not_clearly_bert_is_refused_with_the_remedy(tmp_path: Path, words: str) -> None:
    folder = without_config(UNCLEAR[words].save(tmp_path / "folder"))
    with pytest.raises(ModelInvalid, match=words) as caught:
        add(tmp_path, folder)
    assert "Add the config.json" in caught.value.remedy


def test_the_prefix_of_another_family_is_refused(tmp_path: Path) -> None:
    tiny = tiny_bert()
    tiny.weights = {f"roberta.{name}": value for name, value in tiny.weights.items()}
    with pytest.raises(ModelInvalid, match="not named as BERT's"):
        add(tmp_path, without_config(tiny.save(tmp_path / "folder")))


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = without_config(tiny_bert().save(tmp_path / "folder"))
    Tokenizer(models.BPE({"a": 0}, [])).save(str(folder / "tokenizer.json"))
    with pytest.raises(ModelInvalid, match="its tokenizer is BPE") as caught:
        add(tmp_path, folder)
    assert "Add the config.json" in caught.value.remedy


def test_a_graph_needs_its_config(tmp_path: Path) -> None:
    folder = OnnxEncoder("last_hidden_state").write(TinyEncoder().save(tmp_path / "folder"))
    with pytest.raises(ModelInvalid, match=r"no config\.json"):
        add(tmp_path, without_config(folder))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encoder.layer.0.output.dense.weight", r"layer\.0\.output\.dense"),
        ("embeddings.position_embeddings.weight", "no tensor 'embeddings.position"),
        ("embeddings.token_type_embeddings.weight", "no tensor 'embeddings.token_type"),
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, name: str, words: str) -> None:
    tiny = tiny_bert()
    del tiny.weights[name]
    with pytest.raises(ModelInvalid, match=words):
        add(tmp_path, without_config(tiny.save(tmp_path / "folder")))


def test_tensors_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    tiny = tiny_bert()
    tiny.weights["encoder.layer.1.intermediate.dense.weight"] = np.zeros((8, 128), np.float32)
    with pytest.raises(ModelInvalid, match=r"layer\.1\.intermediate.*by the model's sizes"):
        add(tmp_path, without_config(tiny.save(tmp_path / "folder")))
    tiny = tiny_bert()
    tiny.weights["embeddings.word_embeddings.weight"] = np.zeros(128, np.float32)
    with pytest.raises(ModelInvalid, match="is no table"):
        add(tmp_path, without_config(tiny.save(tmp_path / "flat")))


def test_a_layer_left_out_is_refused(tmp_path: Path) -> None:
    tiny = tiny_bert(layers=3)
    tiny.weights = {name: v for name, v in tiny.weights.items() if ".layer.1." not in name}
    with pytest.raises(ModelInvalid, match=r"layer\.1\."):
        add(tmp_path, without_config(tiny.save(tmp_path / "folder")))

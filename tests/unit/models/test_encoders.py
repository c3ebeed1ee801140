"""Folders of Hugging Face's become models that answer as their own arithmetic does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper, save
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from skerry.errors import Conflict, ModelInvalid, PickleRefused
from skerry.models.encoders import Wanted
from skerry.models.manifest import AnyModel, ClassifierManifest, EmbeddingManifest, of_task
from skerry.models.store import ModelStore

from .making import malicious_pickle, write_checkpoint
from .text_making import TinyEncoder

FAMILIES = ["bert", "roberta", "distilbert", "mpnet"]
CLASSIFIERS = [("bert", "own"), ("bert", "guide"), ("roberta", "own"), ("distilbert", "own"),
               ("mpnet", "own")]  # fmt: skip


def add(tmp_path: Path, folder: Path, name: str = "mine", **wanted: Any) -> AnyModel:
    return ModelStore(tmp_path / "models", known={}).add_folder(
        folder, name=name, wanted=Wanted(**wanted)
    )


def feed(model: AnyModel, ids: Any, mask: Any) -> dict[str, Any]:
    manifest = model.manifest
    assert isinstance(manifest, EmbeddingManifest | ClassifierManifest)
    given = {"input_ids": ids, "attention_mask": mask}
    return {name: given.get(name, np.zeros_like(ids)) for name in manifest.text.inputs}


def run(model: AnyModel, ids: Any, mask: Any) -> Any:
    variant = model.manifest.variants[0]
    session = onnxruntime.InferenceSession(model.path(variant), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, feed(model, ids, mask))
    return values


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_answers_as_numpy_does(
    tmp_path: Path, family: str, pooling: str, activation: str
) -> None:
    tiny = TinyEncoder(family, activation=activation)
    model = add(tmp_path, tiny.save(tmp_path / "folder"), pooling=pooling)
    ids, mask = tiny.batch(3, 9, 5)
    found = run(model, ids, mask)
    assert np.allclose(found, tiny.embedding(ids, mask, pooling), atol=1e-5)
    manifest = of_task(model, EmbeddingManifest).manifest
    assert (manifest.architecture, manifest.embedding_size) == (family, 32)
    assert (manifest.pooling, manifest.text.pad_id) == (pooling, tiny.pad)
    assert manifest.text.max_tokens == (38 if family in ("roberta", "mpnet") else 40)


@pytest.mark.parametrize(("family", "head"), CLASSIFIERS)
def test_a_classifier_answers_as_numpy_does(tmp_path: Path, family: str, head: str) -> None:
    tiny = TinyEncoder(family, head=head)
    model = add(tmp_path, tiny.save(tmp_path / "folder"))
    ids, mask = tiny.batch(4, 12)
    assert np.allclose(run(model, ids, mask), tiny.logits(ids, mask), atol=1e-5)
    manifest = of_task(model, ClassifierManifest).manifest
    assert manifest.labels == ("positive", "negative", "neutral")
    assert "no names" in manifest.card


@pytest.mark.parametrize("family", FAMILIES)
def test_openvino_agrees_and_a_text_is_the_same_alone_and_padded(
    tmp_path: Path, family: str
) -> None:
    tiny = TinyEncoder(family)
    model = add(tmp_path, tiny.save(tmp_path / "folder"))
    ids, mask = tiny.batch(2, 30, 7)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    path = model.path(model.manifest.variants[0])
    compiled = openvino.Core().compile_model(path, "CPU", exact)
    together = compiled(feed(model, ids, mask))["embedding"]
    assert np.allclose(together, run(model, ids, mask), atol=1e-5)
    for row, length in enumerate((2, 30, 7)):
        alone = feed(model, ids[row : row + 1, :length], mask[row : row + 1, :length])
        assert np.allclose(compiled(alone)["embedding"][0], together[row], atol=1e-5)


def test_pickles_are_read_once_and_give_the_same_model(tmp_path: Path) -> None:
    tiny = TinyEncoder("bert", head="own")
    spare = add(tmp_path, tiny.save(tmp_path / "a"), name="spare")
    pickled = add(tmp_path, tiny.save(tmp_path / "b", form="pickle"), name="pickled")
    assert spare.manifest.variants == pickled.manifest.variants


@pytest.mark.parametrize("form", ["tensors", "pickles"])
def test_weights_in_several_files_give_the_same_model(tmp_path: Path, form: str) -> None:
    tiny = TinyEncoder("mpnet", head="own")
    whole = add(tmp_path, tiny.save(tmp_path / "a"), name="whole")
    folder = tiny.save(tmp_path / "b", form=form)
    assert len(list(folder.glob("*-of-00002.*"))) == 2
    assert add(tmp_path, folder, name="sharded").manifest.variants == whole.manifest.variants
    assert {path.name for path in (tmp_path / "models" / "sharded").iterdir()} == {
        path.name for path in (tmp_path / "models" / "whole").iterdir()
    }


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = TinyEncoder().save(tmp_path / "folder", form="pickles")
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(ModelInvalid, match=r"00002\.bin', which is not there"):
        add(tmp_path, folder)


def test_a_malicious_shard_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    folder = TinyEncoder().save(tmp_path / "folder", form="pickles")
    trace = tmp_path / "it-ran"
    data = malicious_pickle(os.mkdir, str(trace))
    write_checkpoint(folder / "pytorch_model-00002-of-00002.bin", {}, data_pickle=data)
    with pytest.raises(PickleRefused, match=r"posix\.mkdir"):
        add(tmp_path, folder)
    assert not trace.exists()


def test_weights_of_half_precision_and_in_several_files_are_read(tmp_path: Path) -> None:
    tiny = TinyEncoder()
    folder = tiny.save(tmp_path / "folder")
    (folder / "model.safetensors").unlink()
    names = sorted(tiny.weights)
    parts = {"one.safetensors": names[:9], "two.safetensors": names[9:]}
    for file, held in parts.items():
        save_file({name: tiny.weights[name].astype(np.float16) for name in held}, folder / file)
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    ids, mask = tiny.batch(6, 3)
    found = run(add(tmp_path, folder), ids, mask)
    assert np.allclose(found, tiny.embedding(ids, mask, "mean"), atol=5e-3)


def test_a_shard_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    (folder / "model.safetensors").rename(tmp_path / "other.safetensors")
    index = {"weight_map": {"x": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelInvalid, match="no file of its folder"):
        add(tmp_path, folder)


def test_the_files_of_sentence_transformers_are_heeded_and_arguments_go_before(
    tmp_path: Path,
) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    prompts = {"prompts": {"query": "query: ", "passage": "passage: ", "none": ""}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    manifest = of_task(add(tmp_path, folder), EmbeddingManifest).manifest
    assert (manifest.pooling, manifest.text.max_tokens) == ("cls", 24)
    assert manifest.prefixes == {"query": "query: ", "document": "passage: "}
    other = add(tmp_path, folder, "other", pooling="mean", prefixes={"query": "ask: "})
    manifest = of_task(other, EmbeddingManifest).manifest
    assert manifest.pooling == "mean"
    assert manifest.prefixes["query"] == "ask: "


@pytest.mark.parametrize("modes", [{"pooling_mode": "lasttoken"}, {"pooling_mode": ["cls", "max"]},
                                   {"pooling_mode_max_tokens": True}])  # fmt: skip
def test_another_pooling_is_refused(tmp_path: Path, modes: dict[str, Any]) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    with pytest.raises(ModelInvalid, match="pooling"):
        add(tmp_path, folder)


def test_a_layer_after_the_pooling_is_refused(tmp_path: Path) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    modules = [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelInvalid, match="Dense"):
        add(tmp_path, folder)


def test_labels_are_the_folders_or_the_users(tmp_path: Path) -> None:
    names = {"0": "joy", "1": "anger", "2": "none"}
    folder = TinyEncoder(head="own").save(tmp_path / "folder", id2label=names)
    first = of_task(add(tmp_path, folder), ClassifierManifest).manifest
    assert first.labels == ("joy", "anger", "none")
    other = add(tmp_path, folder, "other", labels=("x", "y", "z"))
    assert of_task(other, ClassifierManifest).manifest.labels == ("x", "y", "z")
    with pytest.raises(ModelInvalid, match="3 logits, but there are 2"):
        add(tmp_path, folder, "third", labels=("x", "y"))


def test_heads_of_the_training_are_left_out_and_named(tmp_path: Path) -> None:
    tiny = TinyEncoder()
    tiny.weights["cls.predictions.bias"] = np.zeros(300, np.float32)
    tiny.weights["embeddings.position_ids"] = np.arange(40)[None].astype(np.float32)
    model = add(tmp_path, tiny.save(tmp_path / "folder"))
    assert "cls.predictions.bias, pooler.dense.bias" in model.manifest.card


def test_any_other_tensor_left_over_is_refused(tmp_path: Path) -> None:
    tiny = TinyEncoder()
    tiny.weights["encoder.layer.0.adapter.weight"] = np.zeros((4, 4), np.float32)
    with pytest.raises(ModelInvalid, match=r"adapter\.weight"):
        add(tmp_path, tiny.save(tmp_path / "folder"))


def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    folder = TinyEncoder().save(tmp_path / "folder", form="pickle")
    trace = tmp_path / "it-ran"
    data = malicious_pickle(os.mkdir, str(trace))
    write_checkpoint(folder / "pytorch_model.bin", {}, data_pickle=data)
    with pytest.raises(PickleRefused, match=r"posix\.mkdir"):
        add(tmp_path, folder)
    assert not trace.exists()
    assert ModelStore(tmp_path / "models").list() == []


BAD_CONFIGS: dict[str, dict[str, Any]] = {
    "'t5'": {"model_type": "t5"},
    "a decoder": {"is_decoder": True},
    "hidden_size": {"hidden_size": -32},
    "num_hidden_layers": {"num_hidden_layers": 10**9},
    "vocab_size": {"vocab_size": 10**30},
    "layer_norm_eps": {"layer_norm_eps": -1.0},
    "among 5 heads": {"num_attention_heads": 5},
    "'relative_key'": {"position_embedding_type": "relative_key"},
    "activation 'swish'": {"hidden_act": "swish"},
    "by the model's sizes it is": {"intermediate_size": 64},
    "no room for a token": {"model_type": "roberta", "max_position_embeddings": 1},
    r"encoder\.layer\.2\.": {"num_hidden_layers": 3},
    r"encoder\.layer\.1\.": {"num_hidden_layers": 1},
    "TokenClassification": {"architectures": ["BertForTokenClassification"]},
    "ids up to 19": {"vocab_size": 10},
}


@pytest.mark.parametrize("words", BAD_CONFIGS)
def test_a_config_that_cannot_be_is_refused(tmp_path: Path, words: str) -> None:
    folder = TinyEncoder().save(tmp_path / "folder", **BAD_CONFIGS[words])
    with pytest.raises(ModelInvalid, match=words):
        add(tmp_path, folder)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "modules.json"]
)
@pytest.mark.parametrize("content", ["", "nonsense", "[" * 100_000, '{"a":' * 100_000, "\udc80"])
def test_broken_json_is_refused(tmp_path: Path, name: str, content: str) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelInvalid):
        add(tmp_path, folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    (folder / name).unlink()
    with pytest.raises(ModelInvalid) as caught:
        add(tmp_path, folder)
    assert name in caught.value.message + caught.value.remedy


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    tiny = TinyEncoder()
    tiny.weights["encoder.layer.1.output.dense.bias"][3] = np.nan
    with pytest.raises(ModelInvalid, match=r"layer\.1\.output\.dense\.bias"):
        add(tmp_path, tiny.save(tmp_path / "folder"))


@pytest.mark.parametrize("changes", [{"problem_type": "multi_label_classification"}])
def test_a_head_of_several_labels_at_once_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = TinyEncoder(head="own").save(tmp_path / "folder", **changes)
    with pytest.raises(ModelInvalid, match="each by itself"):
        add(tmp_path, folder)


def test_a_name_that_is_taken_is_a_conflict(tmp_path: Path) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    add(tmp_path, folder)
    with pytest.raises(Conflict):
        add(tmp_path, folder)


class OnnxEncoder:
    """A table of vectors, masked or not: what an exporter leaves, small."""

    def __init__(self, output: str, *, pooled: bool = False) -> None:
        self.table = np.random.default_rng(1).normal(size=(300, 32)).astype(np.float32)
        self.output, self.pooled, self.opset = output, pooled, 12

    def write(self, folder: Path) -> Path:
        (folder / "model.safetensors").unlink()
        make, floats = helper.make_tensor_value_info, TensorProto.FLOAT
        nodes = [helper.make_node("Gather", ["table", "input_ids"], ["vectors"])]
        last = "vectors"
        if self.pooled:
            nodes.append(helper.make_node("ReduceMax", ["vectors"], ["top"], axes=[1], keepdims=0))
            last = "top"
        nodes.append(helper.make_node("Identity", [last], [self.output]))
        shape = ["b", 32] if self.pooled else ["b", "s", 32]
        inputs = [make(n, TensorProto.INT64, ["b", "s"]) for n in ("input_ids", "attention_mask")]
        outputs = [make(self.output, floats, shape)]
        table = helper.make_tensor("table", floats, self.table.shape, self.table.ravel())
        graph = helper.make_graph(nodes, "encoder", inputs, outputs, [table])
        (folder / "onnx").mkdir()
        opset = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        save(model, folder / "onnx" / "model.onnx")
        return folder


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_graph_of_token_vectors_gets_its_pooling(tmp_path: Path, pooling: str) -> None:
    tiny = TinyEncoder()
    graph = OnnxEncoder("last_hidden_state")
    model = add(tmp_path, graph.write(tiny.save(tmp_path / "folder")), pooling=pooling)
    ids, mask = tiny.batch(5, 2)
    vectors, weights = graph.table[ids], mask[..., None]
    pooled = (vectors * weights).sum(1) / weights.sum(1) if pooling == "mean" else vectors[:, 0]
    expected = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    assert np.allclose(run(model, ids, mask), expected, atol=1e-5)


def test_a_graph_that_does_not_heed_the_mask_is_refused(tmp_path: Path) -> None:
    graph = OnnxEncoder("sentence_embedding", pooled=True)
    with pytest.raises(ModelInvalid, match="attention mask"):
        add(tmp_path, graph.write(TinyEncoder().save(tmp_path / "folder")))


def test_a_graph_with_unknown_outputs_says_which_are_known(tmp_path: Path) -> None:
    graph = OnnxEncoder("something")
    with pytest.raises(ModelInvalid) as caught:
        add(tmp_path, graph.write(TinyEncoder().save(tmp_path / "folder")))
    assert "last_hidden_state" in caught.value.remedy


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_tokenizers_are_made_of_vocabularies(tmp_path: Path, family: str) -> None:
    model = add(tmp_path, TinyEncoder(family).save(tmp_path / "folder"))
    manifest = of_task(model, EmbeddingManifest).manifest
    tokenizer = Tokenizer.from_file(str(model.path(manifest.text.tokenizer)))
    found = tokenizer.encode("The faster cat").tokens
    if family == "bert":
        assert found == ["[CLS]", "the", "fast", "##er", "cat", "[SEP]"]
    elif family == "mpnet":
        assert found == ["<s>", "the", "fast", "##er", "cat", "</s>"]
    else:
        assert found[0] == "<s>"
        assert found[-1] == "</s>"
        assert "he" in found


def test_a_stored_tokenizer_neither_cuts_nor_pads(tmp_path: Path) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    first = add(tmp_path, folder)
    manifest = of_task(first, EmbeddingManifest).manifest
    tokenizer = Tokenizer.from_file(str(first.path(manifest.text.tokenizer)))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(folder / "tokenizer.json"))
    second = add(tmp_path, folder, "second")
    manifest = of_task(second, EmbeddingManifest).manifest
    stored = Tokenizer.from_file(str(second.path(manifest.text.tokenizer)))
    assert len(stored.encode("a b c d e a b c d e").ids) == 12


@pytest.mark.parametrize(("cased", "expected"), [(True, "[UNK]"), (False, "cat")])
def test_without_settings_the_vocabulary_says_whether_case_counts(
    tmp_path: Path, cased: bool, expected: str
) -> None:
    folder = TinyEncoder().save(tmp_path / "folder")
    (folder / "tokenizer_config.json").unlink()
    if cased:
        with (folder / "vocab.txt").open("a") as file:
            file.write("Dog\n")
    model = add(tmp_path, folder)
    manifest = of_task(model, EmbeddingManifest).manifest
    tokenizer = Tokenizer.from_file(str(model.path(manifest.text.tokenizer)))
    assert tokenizer.encode("CAT").tokens[1] == expected
    assert "do_lower_case" in manifest.card

"""Encoders built without torch answer as `transformers` does with the same folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skerry.models.encoders import Wanted
from skerry.models.manifest import AnyModel
from skerry.models.store import ModelStore

from .test_encoders import run
from .text_making import write_unigrams

WHY = "torch and transformers are not installed here (the group 'peers')"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)

SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
}
DISTIL_SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
}
FAMILIES = ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet"]
MPNET_WORDS = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *(f"w{i}" for i in range(100))]
BERT_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(100))]


def config_of(family: str, **changes: Any) -> Any:
    if family == "distilbert":
        return transformers.DistilBertConfig(**DISTIL_SIZES | changes)
    if family == "bert":
        return transformers.BertConfig(**SIZES | changes)
    if family == "mpnet":
        return transformers.MPNetConfig(**SIZES | changes)
    kind = {"roberta": "RobertaConfig", "xlm-roberta": "XLMRobertaConfig"}[family]
    return getattr(transformers, kind)(
        **SIZES | {"pad_token_id": 1, "type_vocab_size": 1} | changes
    )


def saved(family: str, auto: Any, folder: Path, **changes: Any) -> Any:
    """A random model of the family, saved as users have it; in evaluation mode."""
    torch.manual_seed(0)
    model = auto.from_config(config_of(family, **changes)).eval()
    with torch.no_grad():
        for tensor in model.parameters():  # biases and norms begin as zeros and ones
            tensor.add_(torch.randn_like(tensor) * 0.1)
    model.save_pretrained(folder)
    words = MPNET_WORDS if family == "mpnet" else BERT_WORDS
    (folder / "vocab.txt").write_text("\n".join(words))
    return model


def add(tmp_path: Path, folder: Path, **wanted: Any) -> AnyModel:
    store = ModelStore(tmp_path / "models", known={})
    return store.add_folder(folder, name="mine", wanted=Wanted(**wanted))


def batch(pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Three texts of 4, 17 and 9 tokens."""
    lengths = np.asarray([4, 17, 9])
    ids = np.random.default_rng(2).integers(5, 100, (3, 17))
    mask = (np.arange(17) < lengths[:, None]).astype(np.int64)
    return np.where(mask == 1, ids, pad), mask


def expected(model: Any, ids: np.ndarray, mask: np.ndarray) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_are_those_of_transformers(
    tmp_path: Path, family: str, activation: str, pooling: str
) -> None:
    name = "activation" if family == "distilbert" else "hidden_act"
    changes = {name: activation}
    model = saved(family, transformers.AutoModel, tmp_path / "folder", **changes)
    ids, mask = batch(model.config.pad_token_id)
    hidden = expected(model, ids, mask).last_hidden_state.numpy()
    weights = mask[..., None]
    pooled = (hidden * weights).sum(1) / weights.sum(1) if pooling == "mean" else hidden[:, 0]
    wanted = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    found = run(add(tmp_path, tmp_path / "folder", pooling=pooling), ids, mask)
    assert np.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(tmp_path: Path, family: str) -> None:
    auto = transformers.AutoModelForSequenceClassification
    model = saved(family, auto, tmp_path / "folder", num_labels=4)
    ids, mask = batch(model.config.pad_token_id)
    wanted = expected(model, ids, mask).logits.numpy()
    found = run(add(tmp_path, tmp_path / "folder"), ids, mask)
    assert np.allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def test_tokens_far_apart_are_seen_as_transformers_sees_them(tmp_path: Path) -> None:
    sizes = {"max_position_embeddings": 514}
    model = saved("mpnet", transformers.AutoModel, tmp_path / "folder", **sizes)
    ids = np.random.default_rng(3).integers(5, 100, (2, 300))
    mask = (np.arange(300) < np.asarray([[300], [140]])).astype(np.int64)
    ids = np.where(mask == 1, ids, 1)
    hidden = expected(model, ids, mask).last_hidden_state.numpy()[:, 0]
    wanted = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    found = run(add(tmp_path, tmp_path / "folder", pooling="cls"), ids, mask)
    assert np.allclose(found, wanted, atol=1e-4)


def test_shards_are_read_as_transformers_saves_them(tmp_path: Path) -> None:
    model = saved("bert", transformers.AutoModel, tmp_path / "folder")
    (tmp_path / "folder" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "folder", max_shard_size="20KB")
    assert len(list((tmp_path / "folder").glob("model-*.safetensors"))) > 1
    ids, mask = batch(0)
    hidden = expected(model, ids, mask).last_hidden_state.numpy()[:, 0]
    wanted = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    found = run(add(tmp_path, tmp_path / "folder", pooling="cls"), ids, mask)
    assert np.allclose(found, wanted, atol=1e-4)


def test_a_masked_language_model_gives_its_encoder(tmp_path: Path) -> None:
    model = saved("bert", transformers.AutoModelForMaskedLM, tmp_path / "folder")
    ids, mask = batch(0)
    hidden = expected(model.bert, ids, mask).last_hidden_state.numpy()[:, 0]
    wanted = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    stored = add(tmp_path, tmp_path / "folder", pooling="cls")
    assert np.allclose(run(stored, ids, mask), wanted, atol=1e-4)
    assert "cls.predictions" in stored.manifest.card


@pytest.mark.parametrize("with_config", [True, False])
def test_the_guides_classifier_is_read_from_its_pickle(tmp_path: Path, with_config: bool) -> None:
    config = config_of("bert", hidden_size=128, num_attention_heads=2)

    class Guide(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=False)
            self.classifier = torch.nn.Linear(128, 3)

        def forward(self, **inputs: Any) -> Any:
            return self.classifier(self.bert(**inputs).last_hidden_state[:, 0])

    torch.manual_seed(1)
    model = Guide().eval()
    folder = tmp_path / "folder"
    folder.mkdir()
    if with_config:
        config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(BERT_WORDS))
    ids, mask = batch(0)
    wanted = expected(model, ids, mask).numpy()
    stored = add(tmp_path, folder)
    assert np.allclose(run(stored, ids, mask), wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("classes", [0, 4])
def test_a_bert_without_its_config_answers_as_transformers_does(
    tmp_path: Path, classes: int
) -> None:
    kinds = transformers.AutoModel, transformers.AutoModelForSequenceClassification
    sizes: dict[str, Any] = {"hidden_size": 128, "num_attention_heads": 2, "num_labels": classes}
    model = saved("bert", kinds[classes > 0], tmp_path / "folder", **sizes)
    (tmp_path / "folder" / "config.json").unlink()
    ids, mask = batch(0)
    answer = expected(model, ids, mask)
    wanted = answer.logits.numpy() if classes else answer.last_hidden_state.numpy()[:, 0]
    if not classes:
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    found = run(add(tmp_path, tmp_path / "folder", pooling="cls"), ids, mask)
    assert np.allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("family", ["xlm-roberta", "bert"])
def test_a_multilingual_encoder_reads_pieces_as_transformers_does(
    tmp_path: Path, family: str
) -> None:
    from tokenizers import Tokenizer

    folder = tmp_path / "folder"
    model = saved(family, transformers.AutoModel, folder)
    write_unigrams(folder)
    stored = add(tmp_path, folder, prefixes={"query": "query: "})
    mine = Tokenizer.from_file(str(stored.folder / "tokenizer.json"))
    peer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    texts = ["the Katze runs", "кошка  ｔhe 猫猫", "日本", ""]
    encoded = [mine.encode(text).ids for text in texts]
    assert encoded == [peer(text)["input_ids"] for text in texts]
    ids = np.asarray(encoded[:1])
    mask = np.ones_like(ids)
    hidden = expected(model, ids, mask).last_hidden_state.numpy().mean(1)
    wanted = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    assert np.allclose(run(stored, ids, mask), wanted, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_tokens_are_those_of_transformers(tmp_path: Path, family: str) -> None:
    from tokenizers import Tokenizer

    from .text_making import TinyEncoder

    folder = TinyEncoder(family).save(tmp_path / "folder")
    kind = {"bert": "BertTokenizerFast", "roberta": "RobertaTokenizerFast",
            "mpnet": "MPNetTokenizerFast"}[family]  # fmt: skip
    peer = getattr(transformers, kind).from_pretrained(folder)
    stored = add(tmp_path, folder)
    mine = Tokenizer.from_file(str(stored.folder / "tokenizer.json"))
    for text in ("The faster cat, runs.", "the dog  é ü 中文", "", "good\tbad\n"):
        assert mine.encode(text).ids == peer(text)["input_ids"]

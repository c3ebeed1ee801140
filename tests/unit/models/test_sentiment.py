"""The default classifier: MiniLM's tensors, the changes and the head shipped here, one graph."""

from __future__ import annotations

import logging
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from running_node import pulled_models
from skerry.errors import ModelInvalid, SkerryError
from skerry.models.external import write_graph
from skerry.models.graphs.base import EncoderShape
from skerry.models.graphs.bert import build_embedding
from skerry.models.graphs.sentiment import SENTIMENT_LABELS, SentimentHead, build_sentiment
from skerry.models.manifest import MANIFEST_FILE, ClassifierManifest, ClassifierModel, of_task
from skerry.models.sentiment import encoder_tensors, shipped_card, shipped_head
from skerry.models.store import ModelStore

from .serving import pip_is_offline

Array = NDArray[Any]
ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
SCRIPTS = ROOT / "scripts" / "sentiment"
MODEL, BASE = "minilm-sentiment", "all-minilm-l6-v2"
SHAPE = EncoderShape(
    family="bert", layers=2, hidden=8, heads=2, intermediate=16, vocabulary=20, positions=12,
    token_types=2, activation="gelu", epsilon=1e-12, pad_id=0,
)  # fmt: skip
MATRICES = {
    "attention.self.query": (8, 8),
    "attention.self.key": (8, 8),
    "attention.self.value": (8, 8),
    "attention.output.dense": (8, 8),
    "intermediate.dense": (16, 8),
    "output.dense": (8, 16),
}
CLEAR = {
    "positive": (
        "I love this phone, it works perfectly.",
        "What a wonderful evening, thank you so much!",
        "Excellent service and delicious food.",
    ),
    "negative": (
        "This is the worst hotel I have ever stayed in.",
        "It broke after two days and support never answered.",
        "The film was not good at all.",
    ),
    "neutral": (
        "The meeting starts at nine on Tuesday.",
        "The box contains four screws and a cable.",
        "Which bus goes to the station?",
    ),
}
HELD_OUT = "tweets"
MEASURED_MACRO_F1 = 0.574
"""On all of the domain held out, as the card says."""
MARGIN = 0.03


def random_encoder(chance: np.random.Generator) -> dict[str, Array]:
    """Tensors of SHAPE under transformers' names."""
    tensors = {
        "embeddings.word_embeddings.weight": chance.normal(size=(20, 8)),
        "embeddings.position_embeddings.weight": chance.normal(size=(12, 8)),
        "embeddings.token_type_embeddings.weight": chance.normal(size=(2, 8)),
        "embeddings.LayerNorm.weight": chance.uniform(0.5, 1.5, 8),
        "embeddings.LayerNorm.bias": chance.normal(size=8),
    }
    for number in range(SHAPE.layers):
        at = f"encoder.layer.{number}"
        for name, shape in MATRICES.items():
            tensors[f"{at}.{name}.weight"] = chance.normal(size=shape) / math.sqrt(shape[1])
            tensors[f"{at}.{name}.bias"] = chance.normal(size=shape[0]) / 4
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors[f"{at}.{name}.weight"] = chance.uniform(0.5, 1.5, 8)
            tensors[f"{at}.{name}.bias"] = chance.normal(size=8) / 4
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def random_head(chance: np.random.Generator) -> SentimentHead:
    """Changes of both kinds in the upper layer, and a head."""
    at = "encoder.layer.1"
    changes = {
        f"{at}.intermediate.dense.weight.down": chance.normal(size=(2, 8)),
        f"{at}.intermediate.dense.weight.up": chance.normal(size=(16, 2)),
        f"{at}.attention.self.query.bias": chance.normal(size=8),
        f"{at}.output.LayerNorm.weight": chance.normal(size=8),
    }
    return SentimentHead(
        changes={name: value.astype(np.float32) for name, value in changes.items()},
        weight=chance.normal(size=(3, 24)).astype(np.float32),
        bias=chance.normal(size=3).astype(np.float32),
        temperature=1.5,
    )


def changed(tensors: dict[str, Array], head: SentimentHead) -> dict[str, Array]:
    """The encoder as training left it, the long way round."""
    at, result = "encoder.layer.1", dict(tensors)
    low = head.changes[f"{at}.intermediate.dense.weight.up"].dot(
        head.changes[f"{at}.intermediate.dense.weight.down"]
    )
    result[f"{at}.intermediate.dense.weight"] = tensors[f"{at}.intermediate.dense.weight"] + low
    for name in ("attention.self.query.bias", "output.LayerNorm.weight"):
        result[f"{at}.{name}"] = tensors[f"{at}.{name}"] + head.changes[f"{at}.{name}"]
    return result


def logits_by_numpy(tensors: dict[str, Array], head: SentimentHead, ids: Sequence[int]) -> Array:
    """One text, without padding, in double precision."""
    w = {name: value.astype(np.float64) for name, value in tensors.items()}

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + SHAPE.epsilon)
        return np.asarray(scaled * w[f"{name}.weight"] + w[f"{name}.bias"])

    def linear(x: Array, name: str) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][list(ids)]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for number in range(SHAPE.layers):
        at = f"encoder.layer.{number}"
        q, k, v = (
            linear(x, f"{at}.attention.self.{part}").reshape(len(ids), 2, 4)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("ihd,jhd->hij", q, k) / 2
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("hij,jhd->ihd", shares, v).reshape(len(ids), 8)
        x = norm(
            x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm"
        )
        wide = linear(x, f"{at}.intermediate.dense")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(x + linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    pooled = np.concatenate([x.mean(0), x[0], x.max(0)])
    return np.asarray(head.weight @ pooled + head.bias)


def run(graph: Path, texts: Sequence[Sequence[int]]) -> Array:
    """Logits of texts padded together."""
    length = max(map(len, texts))
    ids = np.array([[*text, *[0] * (length - len(text))] for text in texts], np.int64)
    mask = np.array([[1] * len(text) + [0] * (length - len(text)) for text in texts], np.int64)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return np.asarray(session.run(["logits"], feeds)[0])


@pytest.fixture
def assembled(tmp_path: Path) -> tuple[Path, dict[str, Array], SentimentHead]:
    """A small graph on disk, and what it was made of."""
    chance = np.random.default_rng(4)
    tensors, head = random_encoder(chance), random_head(chance)
    graph = build_sentiment(tensors, SHAPE, head)
    write_graph(graph.model, tmp_path, stem="model", mapped=graph.mapped)
    return next(tmp_path.glob("*.onnx")), tensors, head


def test_the_graph_gives_what_numpy_computes_from_the_changed_tensors(
    assembled: tuple[Path, dict[str, Array], SentimentHead],
) -> None:
    path, tensors, head = assembled
    texts = [[2, 5, 9, 3], [2, 17, 3], [2, 4, 4, 11, 19, 6, 3]]
    expected = [logits_by_numpy(changed(tensors, head), head, text) for text in texts]
    np.testing.assert_allclose(run(path, texts), expected, atol=1e-4)
    # And the changes matter: without them the answers are others.
    unchanged = [logits_by_numpy(tensors, head, text) for text in texts]
    assert np.abs(np.subtract(expected, unchanged)).max() > 0.1


def test_a_text_gets_the_same_logits_alone_and_padded(
    assembled: tuple[Path, dict[str, Array], SentimentHead],
) -> None:
    path, _, _ = assembled
    alone = run(path, [[2, 17, 3]])
    padded = run(path, [[2, 4, 4, 11, 19, 6, 8, 8, 3], [2, 17, 3]])
    np.testing.assert_allclose(padded[1], alone[0], atol=1e-4)


def test_an_encoder_of_another_size_is_refused() -> None:
    chance = np.random.default_rng(4)
    with pytest.raises(ModelInvalid):
        build_sentiment(
            random_encoder(chance),
            SHAPE,
            SentimentHead(
                {"encoder.layer.5.output.dense.bias": np.zeros(8, np.float32)},
                np.zeros((3, 24), np.float32),
                np.zeros(3, np.float32),
                1.0,
            ),
        )


def test_an_installed_encoders_tensors_come_back_as_they_went_in(tmp_path: Path) -> None:
    tensors = random_encoder(np.random.default_rng(4))
    graph = build_embedding(tensors, SHAPE, pooling="mean")
    write_graph(graph.model, tmp_path, stem="model", mapped=graph.mapped)
    found = encoder_tensors(next(tmp_path.glob("*.onnx")))
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_shipped_head_has_the_guides_order_and_stays_small() -> None:
    head = shipped_head()
    assert SENTIMENT_LABELS == ("positive", "negative", "neutral")
    assert head.weight.shape == (3, 3 * 384)
    assert head.bias.shape == (3,)
    assert 0.3 < head.temperature < 5
    data = ROOT / "src/skerry/models/data/sentiment.safetensors"
    assert data.stat().st_size < 400_000


def test_the_card_says_what_was_held_out_and_what_it_is_bad_at() -> None:
    card = shipped_card()
    for needed in ("Held out", HELD_OUT, "Confusion", "VADER", "bad at", "CC BY", "MIT"):
        assert needed in card


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> ClassifierModel:
    """The model as a user pulls it, with the head as it is now; skips aloud when it cannot be.

    MiniLM is installed beside it, so that nothing is fetched for the classifier itself.
    """
    folder = tmp_path_factory.mktemp("models")
    try:
        base = ModelStore(pulled_models()).pull(BASE)
        (folder / BASE).symlink_to(base.folder.resolve(), target_is_directory=True)
        model = ModelStore(folder).pull(MODEL)
    except SkerryError as error:
        pytest.skip(f"{MODEL} cannot be pulled here: {error}")
    return of_task(model, ClassifierManifest)


def test_it_shares_what_training_left_with_its_base(pulled: ClassifierModel) -> None:
    store = ModelStore(pulled.folder.parent)
    base = store.get(BASE)
    held = {file.file for file in base.manifest.variants[0].weights}
    if len(held) == 1:
        pytest.skip(f"{BASE} was pulled when all its weights lay in one file.")
    shared = held & {file.file for file in pulled.manifest.variants[0].weights}
    # Embeddings and three of six layers.
    assert len(shared) == 4
    assert sum((pulled.folder / name).stat().st_size for name in shared) > 65_000_000


def test_one_of_an_older_head_is_built_anew_without_a_network(
    pulled: ClassifierModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pip_is_offline(monkeypatch)
    caplog.set_level(logging.INFO)
    old = msgspec.structs.replace(pulled.manifest, recipe="older", temperature=9.0)
    (pulled.folder / MANIFEST_FILE).write_bytes(old.encoded())
    store = ModelStore(pulled.folder.parent)
    assert not store.is_current(store.get(MODEL))
    assert store.pull(MODEL).manifest == pulled.manifest
    assert f"'{MODEL}' is of another version of Skerry: it is built anew" in caplog.text
    caplog.clear()
    assert store.pull(MODEL).manifest == pulled.manifest
    assert "built anew" not in caplog.text


def test_one_of_an_older_head_stays_when_its_base_cannot_be_had(
    pulled: ClassifierModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    pip_is_offline(monkeypatch)
    shutil.copytree(pulled.folder, tmp_path / MODEL)
    old = msgspec.structs.replace(pulled.manifest, recipe="older")
    (tmp_path / MODEL / MANIFEST_FILE).write_bytes(old.encoded())
    store = ModelStore(tmp_path)
    assert store.pull(MODEL).manifest == old
    assert "stays as another version built it" in caplog.text
    assert store.verify(MODEL).manifest == old


def classify(model: ClassifierModel, texts: Sequence[str]) -> list[str]:
    """The likeliest class of each text, by ONNX Runtime."""
    manifest = model.manifest
    tokenizer = Tokenizer.from_file(str(model.path(manifest.text.tokenizer)))
    variant = manifest.variant("fp32")
    assert variant is not None
    encoded = [found.ids for found in tokenizer.encode_batch(texts)]
    order = sorted(range(len(texts)), key=lambda at: len(encoded[at]))
    said = [""] * len(texts)
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        logits = run(model.path(variant), [encoded[at] for at in rows])
        for at, choice in zip(rows, logits.argmax(1), strict=True):
            said[at] = manifest.labels[choice]
    return said


def test_clear_sentences_are_classified_right(pulled: ClassifierModel) -> None:
    expected = [label for label, texts in CLEAR.items() for _ in texts]
    assert classify(pulled, [text for texts in CLEAR.values() for text in texts]) == expected


def test_the_pulled_model_says_its_labels_and_temperature(pulled: ClassifierModel) -> None:
    assert pulled.manifest.labels == SENTIMENT_LABELS
    assert pulled.manifest.temperature == pytest.approx(shipped_head().temperature)
    assert pulled.manifest.output == "logits"


def test_the_domain_held_out_is_classified_as_well_as_the_card_says(
    pulled: ClassifierModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (DATA / "sentiment").is_dir():
        pytest.skip(
            "No labelled sentences here: see scripts/sentiment/texts.py for how to get them."
        )
    monkeypatch.syspath_prepend(SCRIPTS)
    texts_module = pytest.importorskip("texts", reason="scripts/sentiment is not here")
    texts = [text for text in texts_module.read_texts(DATA) if text.domain == HELD_OUT][::4]
    sys.modules.pop("texts", None)
    said = classify(pulled, [text.text for text in texts])
    pairs = [
        (SENTIMENT_LABELS[text.label], answer) for text, answer in zip(texts, said, strict=True)
    ]
    f1 = []
    for label in SENTIMENT_LABELS:
        hits = sum(is_label == label == answer for is_label, answer in pairs)
        named = sum((is_label == label) + (answer == label) for is_label, answer in pairs)
        f1.append(2 * hits / named)
    assert np.mean(f1) >= MEASURED_MACRO_F1 - MARGIN

"""A text's probabilities: of its logits, of all its windows, in the manifest's order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from skerry.errors import BadRequest, ContextLengthExceeded, DeadlineExceeded
from skerry.inference.base import EngineInfo
from skerry.inference.encoder import Encoded, Encoder, EncoderOutput, TokenBatch
from skerry.media.tokens import Tokens
from skerry.models.manifest import ClassifierManifest, Source, StoredFile, TextInput
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.classify import INLINE_CHARACTERS, TextClassifier, probabilities

LABELS = ("positive", "negative", "neutral")
WORDS = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "good": 3, "bad": 4, "day": 5}
LOGITS = {3: (4.0, 0.0, 0.0), 4: (0.0, 4.0, 0.0), 5: (0.0, 0.0, 4.0)}
WINDOW = 4
TEMPERATURE = 2.0
INFO = EngineInfo("m", "counted", "cpu", "fp32", "f" * 8, "")


class CountedEncoder:
    """Adds up what each word says."""

    info = INFO
    width = len(LABELS)
    streams = 1

    def run(self, batch: TokenBatch) -> EncoderOutput:
        table = np.array([LOGITS.get(word, (0.0, 0.0, 0.0)) for word in range(len(WORDS))])
        values = (table[batch.ids] * batch.mask[:, :, None]).sum(1)
        return EncoderOutput(values.astype(np.float32), 0.25)

    def __init__(self, batcher: AtOnce) -> None:
        self.batcher = batcher
        self.closed_after_drain = False

    def close(self) -> None:
        self.closed_after_drain = self.batcher.closed


class AtOnce:
    """Runs each text by itself, and remembers what it was given."""

    def __init__(self) -> None:
        self.counted = CountedEncoder(self)
        self.encoder: Encoder = self.counted
        self.given: list[list[int]] = []
        self.closed = False

    async def submit(self, texts: Sequence[Sequence[int]], *, deadline: float) -> Encoded:
        assert deadline > asyncio.get_running_loop().time()
        self.given += [list(text) for text in texts]
        rows = []
        for text in texts:
            ids = np.array([text], np.int64)
            rows.append(self.encoder.run(TokenBatch(ids, np.ones_like(ids))).values[0])
        return Encoded(np.array(rows), queue_s=0.5, inference_s=0.25)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def submitter() -> AtOnce:
    """What stands behind the classifier."""
    return AtOnce()


@pytest.fixture
def classifier(submitter: AtOnce, tmp_path: Path) -> TextClassifier:
    """A classifier of three words with a window of two of them."""
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="day"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    manifest = ClassifierManifest(
        name="m",
        architecture="counted",
        source=Source(kind="file", location="tests"),
        license="Apache-2.0",
        text=TextInput(tokenizer=StoredFile(path.name, "", 0), max_tokens=WINDOW),
        labels=LABELS,
        temperature=TEMPERATURE,
    )
    return TextClassifier(manifest, submitter, Tokens(path, max_tokens=WINDOW))


def soon() -> float:
    return asyncio.get_running_loop().time() + 5


async def test_each_text_gets_its_class_and_probabilities_in_the_manifests_order(
    classifier: TextClassifier,
) -> None:
    found = await classifier.classify(["good", "bad", "day"], deadline=soon(), stages=Stages())
    assert [one.label for one in found] == ["positive", "negative", "neutral"]
    for one in found:
        assert tuple(one.probabilities) == LABELS
        assert sum(one.probabilities.values()) == pytest.approx(1.0)
        assert one.tokens == 3


async def test_logits_are_divided_by_the_manifests_temperature(classifier: TextClassifier) -> None:
    [found] = await classifier.classify(["good"], deadline=soon(), stages=Stages())
    expected = np.exp(4.0 / TEMPERATURE) / (np.exp(4.0 / TEMPERATURE) + 2)
    assert found.probabilities["positive"] == pytest.approx(expected)
    assert found.scores == {"positive": 4.0, "negative": 0.0, "neutral": 0.0}


async def test_a_text_beyond_the_window_is_refused_unless_asked_otherwise(
    classifier: TextClassifier, submitter: AtOnce
) -> None:
    with pytest.raises(ContextLengthExceeded):
        await classifier.classify(["good good bad"], deadline=soon(), stages=Stages())
    assert submitter.given == []


async def test_a_split_texts_windows_weigh_by_their_tokens(
    classifier: TextClassifier, submitter: AtOnce
) -> None:
    [found] = await classifier.classify(
        ["good good bad"], deadline=soon(), stages=Stages(), long="split"
    )
    assert submitter.given == [[1, 3, 3, 2], [1, 4, 2]]
    first, second = probabilities(np.array([[8, 0, 0], [0, 4, 0]], np.float32), temperature=2.0)
    expected = (4 * first + 3 * second) / 7
    np.testing.assert_allclose(list(found.probabilities.values()), expected)
    assert found.label == "positive"
    assert list(found.scores.values()) == pytest.approx([4 * 8 / 7, 3 * 4 / 7, 0])
    assert found.tokens == 7


async def test_windows_of_one_text_do_not_reach_into_the_next(classifier: TextClassifier) -> None:
    found = await classifier.classify(
        ["bad bad bad", "good", "day day day day day"],
        deadline=soon(), stages=Stages(), long="split",
    )  # fmt: skip
    assert [one.label for one in found] == ["negative", "positive", "neutral"]
    assert [one.tokens for one in found] == [7, 3, 11]


async def test_a_cut_text_is_classified_by_its_beginning(
    classifier: TextClassifier, submitter: AtOnce
) -> None:
    [found] = await classifier.classify(
        ["bad bad good good good"], deadline=soon(), stages=Stages(), long="cut"
    )
    assert submitter.given == [[1, 4, 4, 2]]
    assert found.label == "negative"
    assert found.tokens == WINDOW


async def test_many_characters_are_tokenised_in_a_thread_with_the_same_outcome(
    classifier: TextClassifier,
) -> None:
    texts = ["good", "bad"] * INLINE_CHARACTERS
    found = await classifier.classify(texts, deadline=soon(), stages=Stages())
    assert [one.label for one in found[:4]] == ["positive", "negative"] * 2
    assert len(found) == len(texts)


async def test_tokenising_ends_at_the_deadline(classifier: TextClassifier) -> None:
    passed = asyncio.get_running_loop().time() - 1
    with pytest.raises(DeadlineExceeded):
        await classifier.classify(
            ["good " * INLINE_CHARACTERS], deadline=passed, stages=Stages(), long="split"
        )


async def test_half_a_surrogate_pair_is_refused(classifier: TextClassifier) -> None:
    with pytest.raises(BadRequest):
        await classifier.classify(["good \ud83d"], deadline=soon(), stages=Stages())


async def test_no_texts_make_no_engine_call(classifier: TextClassifier, submitter: AtOnce) -> None:
    assert await classifier.classify([], deadline=soon(), stages=Stages()) == []
    assert submitter.given == []


async def test_the_stages_say_how_long_each_part_took(classifier: TextClassifier) -> None:
    stages = Stages()
    await classifier.classify(["good"], deadline=soon(), stages=stages)
    assert stages.seconds["tokenize"] > 0
    assert stages.ms("queue") == 500
    assert stages.ms("inference") == 250


async def test_closing_drains_what_was_admitted_and_then_frees_the_model(
    classifier: TextClassifier, submitter: AtOnce
) -> None:
    await classifier.close()
    assert submitter.closed
    assert submitter.counted.closed_after_drain


def test_huge_logits_give_probabilities_that_are_numbers() -> None:
    found = probabilities(np.array([[1e4, -1e4, 0]], np.float32), temperature=0.5)
    np.testing.assert_allclose(found, [[1, 0, 0]])

"""Texts become vectors, however they come and however long they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from skerry.config import ModelSettings
from skerry.errors import BadRequest, ContextLengthExceeded, DeadlineExceeded
from skerry.inference.encoder_loading import load_encoder
from skerry.inference.text_batcher import TextBatcher
from skerry.media.tokens import Tokens
from skerry.metrics import Metrics
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.embed import Embedder, Embeddings, Long, Text
from tiny_encoder import MAX_TOKENS, WIDTH, install_tiny_encoder


@pytest.fixture
async def embedder(tmp_path: Path) -> AsyncIterator[Embedder]:
    model = install_tiny_encoder(tmp_path / "tiny")
    encoder = load_encoder(model, settings=ModelSettings(precision="fp32"), metrics=Metrics())
    made = Embedder(
        model.manifest,
        TextBatcher(encoder, metrics=Metrics(), queue=10),
        Tokens(model.path(model.manifest.text.tokenizer), max_tokens=MAX_TOKENS),
    )
    yield made
    await made.close()


async def embed(
    embedder: Embedder, *texts: Text, long: Long = "refuse", use: str = "", seconds: float = 20
) -> Embeddings:
    return await embedder.embed(
        texts,
        deadline=asyncio.get_running_loop().time() + seconds,
        stages=Stages(),
        long=long,
        use=use,
    )


async def test_each_text_has_its_vector_in_order_and_its_tokens(embedder: Embedder) -> None:
    texts = ["the cat", "the harbour is calm", "", "seals sleep"]
    together = await embed(embedder, *texts)
    assert (together.vectors.dtype, together.vectors.shape) == (np.float32, (4, WIDTH))
    assert together.tokens == [4, 6, 2, 4]
    for text, vector in zip(texts, together.vectors, strict=True):
        alone = await embed(embedder, text)
        np.testing.assert_allclose(alone.vectors[0], vector, atol=1e-3)


async def test_stages_say_where_the_time_went(embedder: Embedder) -> None:
    stages = Stages()
    deadline = asyncio.get_running_loop().time() + 20
    await embedder.embed(["the cat"], deadline=deadline, stages=stages)
    assert set(stages.seconds) == {"tokenize", "queue", "inference"}
    names = [part.split(";")[0] for part in stages.server_timing().split(", ")]
    assert names == ["tokenize", "queue", "inference", "total"]


async def test_a_long_text_is_refused_unless_asked_otherwise(embedder: Embedder) -> None:
    with pytest.raises(ContextLengthExceeded, match="Text 1"):
        await embed(embedder, "the cat", "the cat " * 20)


async def test_split_gives_the_mean_of_the_windows_weighted_by_their_tokens(
    embedder: Embedder,
) -> None:
    parts = ["the cat sat on the mat and the boat sails to the island where",
             "seals sleep"]  # fmt: skip
    assert len(parts[0].split()) == MAX_TOKENS - 2
    whole = await embed(embedder, " ".join(parts), "the cat", long="split")
    windows = await embed(embedder, *parts)
    assert windows.tokens == [16, 4]
    mean = (16 * windows.vectors[0] + 4 * windows.vectors[1]) / 20
    np.testing.assert_allclose(whole.vectors[0], mean / np.linalg.norm(mean), atol=1e-4)
    assert whole.vectors.dtype == np.float32
    assert whole.tokens == [20, 4]
    np.testing.assert_allclose(
        whole.vectors[1], (await embed(embedder, "the cat")).vectors[0], atol=1e-4
    )


async def test_cut_reads_the_beginning(embedder: Embedder) -> None:
    long = "the cat sat on the mat and the boat sails to the island where seals"
    cut = await embed(embedder, long, long="cut")
    beginning = await embed(embedder, long.removesuffix(" seals"))
    np.testing.assert_allclose(cut.vectors, beginning.vectors, atol=1e-5)
    assert cut.tokens == [MAX_TOKENS]


async def test_token_arrays_are_texts_too(embedder: Embedder) -> None:
    written = await embed(embedder, "the cat")
    tokens = embedder.tokens.encode(["the cat"])[0]
    for array in (tokens, tokens[1:-1]):
        given = await embed(embedder, array)
        np.testing.assert_allclose(given.vectors, written.vectors, atol=1e-6)
        assert given.tokens == [4]


@pytest.mark.parametrize("array", [[-1], [99999], [True], [1.5]])
async def test_a_token_the_model_has_not_is_refused(embedder: Embedder, array: list[int]) -> None:
    with pytest.raises(BadRequest, match="no token"):
        await embed(embedder, array)


async def test_texts_and_token_arrays_do_not_mix(embedder: Embedder) -> None:
    with pytest.raises(BadRequest, match="either"):
        await embed(embedder, "the cat", [5])


async def test_a_use_puts_its_prefix_before_the_text(embedder: Embedder) -> None:
    asked = await embed(embedder, "the cat", use="query")
    written = await embed(embedder, "query: the cat")
    np.testing.assert_array_equal(asked.vectors, written.vectors)
    with pytest.raises(BadRequest, match="poem") as caught:
        await embed(embedder, "the cat", use="poem")
    assert "query" in caught.value.remedy
    with pytest.raises(BadRequest, match="token arrays"):
        await embed(embedder, [5], use="query")


async def test_a_deadline_holds_for_the_tokenizer_too(embedder: Embedder) -> None:
    with pytest.raises(DeadlineExceeded):
        await embed(embedder, *["the cat sat on the mat"] * 20_000, seconds=0.001)


async def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    nothing = await embed(embedder)
    assert (nothing.vectors.shape, nothing.tokens) == ((0, WIDTH), [])


async def test_a_small_text_does_not_wait_for_a_thread(embedder: Embedder) -> None:
    free = threading.Event()
    with ThreadPoolExecutor(1) as busy:
        busy.submit(free.wait)
        embedder._threads = busy
        try:
            assert (await embed(embedder, "the cat")).tokens == [4]
        finally:
            free.set()

"""One way to embed texts, in a process of its own, measured as the parent's lines say.

`_embedding_child.py KIND TEXTS MODEL`: KIND is `skerry/ENGINE/PRECISION`, `onnxruntime` or
`sentence-transformers`; TEXTS a JSON file of named lists; MODEL the folder of one. The last kind
needs no more than its own package here.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[Sequence[str]], np.ndarray]
DEADLINE_S = 120.0
MAX_TOKENS = 256
BATCH = 32
WIDTH = 384
COMPARED = 32
"""Texts of each set whose vectors are held against each other."""


def main() -> None:
    kind, texts, model = sys.argv[1:]
    embed = maker(kind)(Path(model))
    sets = json.loads(Path(texts).read_text())
    embed(next(iter(sets.values()))[:2])
    say({})
    for line in sys.stdin:
        asked = json.loads(line)
        chosen = sets[asked.pop("set")]
        if "into" in asked:
            np.save(asked["into"], embed(chosen[:COMPARED]))
            say({})
        else:
            say(timed(embed, chosen, **asked))


def maker(kind: str) -> Callable[[Path], Embed]:
    name, *rest = kind.split("/")
    if name == "skerry":
        return lambda folder: skerry_embedder(folder, engine=rest[0], precision=rest[1])
    return {"onnxruntime": onnx_embedder, "sentence-transformers": transformers_embedder}[name]


def timed(embed: Embed, texts: Sequence[str], *, batch: int, seconds: float) -> dict[str, Any]:
    """Calls of `batch` texts in their order, for `seconds`: how long each took."""
    calls = [texts[at : at + batch] for at in range(0, len(texts) - batch + 1, batch)]
    embed(calls[0])
    took: list[float] = []
    began, spent = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds or len(took) < 2:
        start = time.perf_counter()
        embed(calls[len(took) % len(calls)])
        took.append(time.perf_counter() - start)
    spent = time.process_time() - spent
    return {"texts": batch * len(took), "took": took, "cpu_s": spent}


def skerry_embedder(folder: Path, *, engine: str, precision: str) -> Embed:
    """The node's own flow, tokenising included, without HTTP."""
    from skerry.config import ModelSettings
    from skerry.inference.encoder_loading import load_encoder
    from skerry.inference.text_batcher import TextBatcher
    from skerry.media.tokens import Tokens
    from skerry.metrics import Metrics
    from skerry.models.folder import ModelFolder
    from skerry.models.manifest import EmbeddingManifest, of_task
    from skerry.pipelines.stages import Stages
    from skerry.pipelines.texts.embed import Embedder

    model = of_task(ModelFolder(folder.parent).get(folder.name), EmbeddingManifest)
    settings = ModelSettings(engine=engine, precision=precision)
    encoder = load_encoder(model, settings=settings, metrics=Metrics())
    text = model.manifest.text
    tokens = Tokens(model.path(text.tokenizer), max_tokens=text.max_tokens)
    loop = asyncio.new_event_loop()

    async def embedder() -> Embedder:
        return Embedder(model.manifest, TextBatcher(encoder, metrics=Metrics(), queue=64), tokens)

    made = loop.run_until_complete(embedder())

    def embed(texts: Sequence[str]) -> np.ndarray:
        work = made.embed(texts, deadline=loop.time() + DEADLINE_S, stages=Stages())
        return loop.run_until_complete(work).vectors

    return embed


def onnx_embedder(folder: Path) -> Embed:
    """The same graph, as one would run it with a few lines: padded as the texts come."""
    import onnxruntime
    from tokenizers import Tokenizer

    from skerry.models.folder import ModelFolder
    from skerry.models.manifest import EmbeddingManifest, of_task

    model = of_task(ModelFolder(folder.parent).get(folder.name), EmbeddingManifest)
    variant = model.manifest.variant("fp32")
    assert variant is not None
    session = onnxruntime.InferenceSession(model.path(variant), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(model.path(model.manifest.text.tokenizer)))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()

    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.concatenate([batch(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)])

    def batch(texts: Sequence[str]) -> np.ndarray:
        encodings = tokenizer.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        fed = {name: known[name] for name in model.manifest.text.inputs}
        vectors: np.ndarray = session.run([model.manifest.output], fed)[0]
        return vectors

    return embed


def transformers_embedder(folder: Path) -> Embed:
    """What most programs do; it sorts a call's texts by length itself."""
    from sentence_transformers import SentenceTransformer, models

    reader = models.Transformer(str(folder), max_seq_length=MAX_TOKENS)
    pooling = models.Pooling(WIDTH, pooling_mode="mean")
    model = SentenceTransformer(modules=[reader, pooling, models.Normalize()], device="cpu")
    return lambda texts: model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)


def say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()

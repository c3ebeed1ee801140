"""Bring a text model to this machine and into memory, behind its admission."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from skerry.config import Settings
from skerry.generation.selection import footprint_bytes as generator_bytes
from skerry.generation.selection import open_generator
from skerry.generation.slots import Slots
from skerry.inference.encoder_loading import load_encoder
from skerry.inference.text_batcher import TextBatcher
from skerry.media.tokens import Tokens
from skerry.metrics import Metrics
from skerry.models.manifest import (
    ChatManifest,
    ChatModel,
    ClassifierManifest,
    ClassifierModel,
    EmbeddingManifest,
    EmbeddingModel,
    Manifest,
    Task,
    of_task,
)
from skerry.pipelines.budget import weights_bytes
from skerry.pipelines.fetching import Fetcher
from skerry.pipelines.held import Served
from skerry.pipelines.texts.classify import TextClassifier
from skerry.pipelines.texts.embed import Embedder

MANIFESTS: dict[Task, type[Manifest]] = {
    "text-embedding": EmbeddingManifest,
    "text-classification": ClassifierManifest,
    "text-generation": ChatManifest,
}
ENGINE_BYTES = 64 << 20


class LocalTextLoader:
    """Makes embedders, classifiers and generators of what the models folder holds."""

    def __init__(
        self, fetcher: Fetcher, settings: Settings, *, threads: Executor, metrics: Metrics
    ) -> None:
        self._fetcher = fetcher
        self._settings = settings
        self._threads = threads
        self._metrics = metrics

    async def install(self, name: str) -> None:
        """Pull a model of the catalogue when it is absent; raises what pulling raises."""
        if not self._is_remote(name):
            await asyncio.to_thread(self._fetcher.install, name)

    async def footprint_bytes(self, name: str, task: Task) -> int:
        """Memory it will take, estimated, once every byte of its files was checked.

        Raises ModelNotFound, ModelUnavailable, and WrongTask when it is for something else.
        """
        if task == "text-generation" and self._is_remote(name):
            return 0
        model = await asyncio.to_thread(self._fetcher.installed, name)
        manifest = of_task(model, MANIFESTS[task]).manifest
        if isinstance(manifest, ChatManifest):
            chat = of_task(model, ChatManifest)
            return await asyncio.to_thread(
                generator_bytes, chat, settings=self._settings.generation
            )
        return ENGINE_BYTES + weights_bytes(manifest)

    async def load(self, name: str) -> Served:
        """Load what `footprint_bytes` has checked; raises what loading raises."""
        if self._is_remote(name):
            return await self._generator(None)
        model = await asyncio.to_thread(self._fetcher.described, name)
        if isinstance(model.manifest, ChatManifest):
            return await self._generator(of_task(model, ChatManifest))
        if isinstance(model.manifest, EmbeddingManifest):
            return await self._embedder(of_task(model, EmbeddingManifest))
        return await self._classifier(of_task(model, ClassifierManifest))

    def _is_remote(self, name: str) -> bool:
        return self._settings.generation.type == "remote" and name == self._settings.models.chat

    async def _generator(self, model: ChatModel | None) -> Slots:
        generator = await open_generator(
            model, settings=self._settings.generation, metrics=self._metrics
        )
        return Slots(generator, queue=self._settings.generation.queue, metrics=self._metrics)

    async def _embedder(self, model: EmbeddingModel) -> Embedder:
        tokens = await asyncio.to_thread(_tokens, model)
        submitter = await self._submitter(model)
        return Embedder(model.manifest, submitter, tokens, threads=self._threads)

    async def _classifier(self, model: ClassifierModel) -> TextClassifier:
        tokens = await asyncio.to_thread(_tokens, model)
        submitter = await self._submitter(model)
        return TextClassifier(
            model.manifest, tokens=tokens, submitter=submitter, threads=self._threads
        )

    async def _submitter(self, model: EmbeddingModel | ClassifierModel) -> TextBatcher:
        encoder = await asyncio.to_thread(
            load_encoder, model, settings=self._settings.models, metrics=self._metrics
        )
        return TextBatcher(
            encoder,
            metrics=self._metrics,
            queue=self._settings.limits.queue,
            pad_id=model.manifest.text.pad_id,
            threads=self._threads if encoder.info.device == "cpu" else None,
        )


def _tokens(model: EmbeddingModel | ClassifierModel) -> Tokens:
    text = model.manifest.text
    return Tokens(model.path(text.tokenizer), max_tokens=text.max_tokens)

"""What the node says of itself: parts, models, index, cache, traffic, disk."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from skerry.errors import SkerryError
from skerry.index.base import ActiveIndex, IndexState
from skerry.inference.base import EngineInfo
from skerry.metrics import Metrics
from skerry.pipelines.documents.library import DocumentLibrary
from skerry.pipelines.held import HeldModel
from skerry.pipelines.images.features import RESULTS
from skerry.pipelines.images.library import ImageLibrary
from skerry.pipelines.images.served import ServedModels
from skerry.pipelines.texts.models import TextModels
from skerry.sql.base import Database

if TYPE_CHECKING:
    from skerry.generation.slots import Slots


TOKENS_WRITTEN = "skerry_generated_tokens_total"


@dataclass(frozen=True, slots=True)
class PartState:
    """Whether a part can answer, and why not."""

    state: Literal["ready", "starting", "failed"]
    reason: str = ""
    required: bool = True
    """Whether the node counts as ready only with it; it serves images without text models."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model as it runs."""

    name: str
    state: str
    default: bool
    load_ms: float
    task: str = ""
    engine: str = ""
    device: str = ""
    precision: str = ""
    fingerprint: str = ""
    space: str = ""
    reason: str = ""
    """Why it failed."""
    memory_bytes: int = 0
    """What it is counted for in the memory limit, while loaded."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Work in front of the default model's engine."""

    streams: int
    queue_depth: int
    queue_limit: int
    batch_size_mean: float
    inference_ms_mean: float


@dataclass(frozen=True, slots=True)
class GenerationStatus:
    """A language model at work; `tokens_per_s` since the status was asked for last."""

    model: str
    engine: str
    slots: int
    busy: int
    queued: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """Documents stored, and their index; `space` is empty before the first one."""

    count: int
    chunks: int
    index: IndexState


@dataclass(frozen=True, slots=True)
class DataStatus:
    """Where the data lies, and what room is left."""

    folder: str
    free_bytes: int


class Rate:
    """How fast a counter grows, between looks at least a second apart."""

    MIN_S = 1.0

    def __init__(self) -> None:
        self._since, self._value, self._per_s = time.monotonic(), 0.0, 0.0

    def per_s(self, value: float) -> float:
        """Growth a second since the look before."""
        now = time.monotonic()
        if now - self._since >= self.MIN_S:
            self._per_s = max(0.0, value - self._value) / (now - self._since)
            self._since, self._value = now, value
        return round(self._per_s, 1)


class StatusBoard:
    """Reads the parts when it is asked; holds nothing but when the node started."""

    def __init__(
        self,
        *,
        db: Database,
        library: ImageLibrary,
        models: ServedModels,
        texts: TextModels,
        documents: DocumentLibrary,
        index: ActiveIndex,
        metrics: Metrics,
        data: Path,
        queue_limit: int,
    ) -> None:
        self.started_at = int(time.time())
        self._began = time.monotonic()
        self._db = db
        self._library = library
        self._models = models
        self._texts = texts
        self._documents = documents
        self._index = index
        self._metrics = metrics
        self._data = data
        self._queue_limit = queue_limit
        self._writing = Rate()

    def uptime_s(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self._began, 1)

    def parts(self) -> dict[str, PartState]:
        """Each part a request depends on."""
        return {
            "database": self._database(),
            "models": self._default_model(),
            "index": _index_part(self._index.state()),
            "texts": self._text_models(),
            "documents": self._documents_part(),
        }

    def ready(self) -> bool:
        """Whether every part that is required can answer."""
        return all(part.state == "ready" or not part.required for part in self.parts().values())

    async def images(self) -> int:
        """Images stored."""
        return await self._library.table.count()

    async def documents(self) -> DocumentStatus:
        """Documents stored, and their index."""
        table, state = self._documents.table, self._documents.index.switch.state()
        return DocumentStatus(await table.count(), await table.count_chunks(), state)

    def index(self) -> IndexState:
        """The active index."""
        return self._index.state()

    def models(self) -> list[ModelStatus]:
        """Every model that was loaded or asked for."""
        defaults = {self._models.default, *self._texts.defaults.names()}
        held: list[HeldModel[Any]] = [*self._models.all(), *self._texts.all()]
        return [_model_status(model, default=model.name in defaults) for model in held]

    def engine(self) -> EngineStatus:
        """Load on the default model, means since the start."""
        name = self._models.default
        served = self._models.all()[0]
        return EngineStatus(
            streams=served.served.streams if served.served else 0,
            queue_depth=int(self._sample("skerry_queue_depth", name)),
            queue_limit=self._queue_limit,
            batch_size_mean=round(self._mean("skerry_batch_size", name), 2),
            inference_ms_mean=round(1e3 * self._mean("inference_duration_seconds", name), 2),
        )

    def generation(self) -> GenerationStatus | None:
        """The language model that was used last, at work; None while none is loaded."""
        loaded = [m for m in self._texts.all() if m.task == "text-generation" and m.served]
        if not loaded:
            return None
        model = max(loaded, key=lambda model: (model.users, model.last_used))
        slots = cast("Slots", model.served)
        return GenerationStatus(
            model=model.name,
            engine=slots.info.engine,
            slots=slots.info.slots,
            busy=slots.running,
            queued=slots.waiting,
            tokens_per_s=self._writing.per_s(self._sample(TOKENS_WRITTEN, model.name)),
        )

    def cache_counts(self) -> dict[str, int]:
        """Lookups of the feature cache by result."""
        value = self._metrics.registry.get_sample_value
        name = "skerry_cache_lookups_total"
        return {result: int(value(name, {"result": result}) or 0) for result in RESULTS}

    def data(self) -> DataStatus:
        """The data folder."""
        return DataStatus(str(self._data), shutil.disk_usage(self._data).free)

    async def refresh_gauges(self) -> None:
        """Bring gauges that nobody pushes up to date before they are scraped."""
        self._metrics.images.set(await self.images())
        self._metrics.documents.set(await self._documents.table.count())
        self._metrics.chunks.set(await self._documents.table.count_chunks())

    def _database(self) -> PartState:
        try:
            self._db.read("SELECT 1 FROM meta LIMIT 1")
        except SkerryError as error:
            return PartState("failed", error.message)
        return PartState("ready")

    def _default_model(self) -> PartState:
        model = self._models.all()[0]
        if model.state == "failed":
            return PartState("failed", model.reason)
        if model.load_ms:  # one that made room for another is loaded again when it is asked for
            return PartState("ready")
        return PartState("starting", f"loading '{model.name}'")

    def _text_models(self) -> PartState:
        """Those served by default; one that is merely not loaded yet answers all the same."""
        models = [m for m in self._texts.all() if m.name in self._texts.defaults.names()]
        for model in models:
            if model.state == "failed":
                return PartState("failed", f"'{model.name}': {model.reason}", required=False)
        coming = [model.name for model in models if model.state in ("waiting", "pulling")]
        if coming:
            return PartState("starting", f"still to come: {', '.join(coming)}", required=False)
        return PartState("ready", required=False)

    def _documents_part(self) -> PartState:
        index = self._documents.index
        if index.space is None:
            # It is made with the first document.
            return PartState("ready", required=False)
        return replace(_index_part(index.switch.state()), required=False)

    def _sample(self, name: str, model: str) -> float:
        return self._metrics.registry.get_sample_value(name, {"model": model}) or 0.0

    def _mean(self, name: str, model: str) -> float:
        count = self._sample(f"{name}_count", model)
        return self._sample(f"{name}_sum", model) / count if count else 0.0


def _model_status(model: HeldModel[Any], *, default: bool) -> ModelStatus:
    told = ModelStatus(
        model.name, model.state, default, model.load_ms, task=model.task or "",
        reason=model.reason, memory_bytes=model.footprint_bytes if model.served else 0,
    )  # fmt: skip
    if model.served is None:
        return told
    info = model.served.info
    told = replace(told, engine=info.engine, device=info.device)
    if isinstance(info, EngineInfo):
        told = replace(
            told, precision=info.precision, fingerprint=info.fingerprint, space=info.space
        )
    return told


def _index_part(state: IndexState) -> PartState:
    if state.state in ("ready", "rebuilding"):
        # While a successor is built, the present one serves.
        return PartState("ready")
    if state.state == "failed":
        return PartState("failed", state.message)
    return PartState("starting", f"{state.state} {state.progress:.0%}, {state.lag} behind")

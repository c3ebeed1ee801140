"""What commands say of a model: facts of the folder, of the catalogue, and which is the default."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skerry.cli.http import open_client
from skerry.cli.http import settings as settings_of
from skerry.cli.options import Options
from skerry.errors import SkerryError

if TYPE_CHECKING:
    from skerry.config import Settings
    from skerry.models.catalogue import CatalogueEntry
    from skerry.models.manifest import AnyModel
    from skerry.models.store import ModelStore


@dataclass(frozen=True, slots=True)
class Precision:
    """A stored precision, and how close it is to fp32."""

    precision: str
    bytes: int
    agreement: float
    cosine: float
    passed: bool


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model of the folder or the catalogue, for people and programs."""

    name: str
    installed: bool
    default: bool
    task: str
    license: str
    labels: int
    embedding_size: int
    image_size: int
    download_bytes: int
    stored_bytes: int
    """On disk, with what engines keep beside the model."""
    shared_bytes: int
    """Of these, what other models hold too: removing this one does not free it."""
    variants: tuple[Precision, ...]
    card: str


def open_store(options: Options) -> tuple[ModelStore, str]:
    """The models folder, and the model a node here begins with."""
    from skerry.models.store import ModelStore

    settings = settings_of(options)
    return ModelStore(settings.models_folder), first_model(settings)


def first_model(settings: Settings) -> str:
    """The default model of a node that was never switched to another."""
    from skerry.models.catalogue import DEFAULT_IMAGE_MODEL

    return settings.models.image or DEFAULT_IMAGE_MODEL


def running_default(options: Options, otherwise: str) -> str:
    """The running node's default model; without a node, what it would begin with."""
    try:
        with open_client(options, timeout_s=2, patience_s=0) as node:
            running = node.status().models
    except SkerryError:  # listing a folder needs no node
        return otherwise
    return next((model.name for model in running if model.default), otherwise)


def all_defaults(options: Options, image: str) -> frozenset[str]:
    """The default model of each task, `image` among them."""
    models = settings_of(options).models
    return frozenset((image, models.embedding, models.classifier, models.chat))


def installed_facts(
    model: AnyModel, defaults: Collection[str], *, beside: Collection[AnyModel]
) -> ModelFacts:
    """Of a model in the folder; `beside` are those that may share files with it."""
    from skerry.models.manifest import ImageManifest, labels_of, space_of
    from skerry.models.sharing import shared_bytes, stored_bytes

    manifest = model.manifest
    return ModelFacts(
        name=manifest.name,
        installed=True,
        default=manifest.name in defaults,
        task=manifest.task,
        license=manifest.license,
        labels=len(labels_of(manifest)),
        embedding_size=space_of(manifest)[1],
        image_size=manifest.preprocess.size if isinstance(manifest, ImageManifest) else 0,
        download_bytes=0,
        stored_bytes=stored_bytes(model.folder),
        shared_bytes=shared_bytes(model.folder, [other.folder for other in beside]),
        variants=tuple(
            Precision(v.precision, v.bytes, v.agreement, v.cosine, v.passed)
            for v in manifest.variants
        ),
        card=manifest.card,
    )


def known_facts(entry: CatalogueEntry, defaults: Collection[str]) -> ModelFacts:
    """Of a model that can be pulled; what only its weights tell is 0."""
    from skerry.models.catalogue import ImageEntry

    return ModelFacts(
        name=entry.name,
        installed=False,
        default=entry.name in defaults,
        task=entry.task,
        license=entry.license,
        labels=0,
        embedding_size=0,
        image_size=entry.preprocess.size if isinstance(entry, ImageEntry) else 0,
        download_bytes=entry.download_bytes,
        stored_bytes=0,
        shared_bytes=0,
        variants=(),
        card=entry.card,
    )

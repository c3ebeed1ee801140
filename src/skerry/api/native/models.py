"""`/api/models`: what is installed, and which model the index follows."""

from __future__ import annotations

import msgspec

from skerry.api.bodies import read_json
from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.native.jobs import JobAnswer, job_json
from skerry.models.manifest import AnyModel, labels_of, space_of


class VariantJson(msgspec.Struct):
    """A stored precision of a model, and how close it is to fp32."""

    precision: str
    bytes: int
    agreement: float
    cosine: float
    passed: bool


class ModelJson(msgspec.Struct):
    """An installed model."""

    name: str
    task: str
    license: str
    embedding_size: int
    labels: int
    space: str
    default: bool
    variants: list[VariantJson]
    card: str


class ModelsAnswer(msgspec.Struct):
    """All installed models."""

    models: list[ModelJson]


class DefaultModel(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PUT /api/models/default`."""

    name: str


async def list_models(exchange: Exchange) -> Answer:
    """All installed models."""
    installed = await exchange.node.installed_models()
    default = exchange.node.models.default
    return json_answer(ModelsAnswer([_shape(model, default) for model in installed]))


async def use_model(exchange: Exchange) -> Answer:
    """Fill the new model's space in the background, then switch the node to it."""
    wanted = await read_json(exchange, DefaultModel)
    job = await exchange.node.use_model(wanted.name)
    return json_answer(JobAnswer(job_json(job)), status=202)


def _shape(model: AnyModel, default: str) -> ModelJson:
    manifest = model.manifest
    space, size = space_of(manifest)
    variants = [
        VariantJson(v.precision, v.bytes, v.agreement, v.cosine, v.passed)
        for v in manifest.variants
    ]
    return ModelJson(
        name=manifest.name,
        task=manifest.task,
        license=manifest.license,
        embedding_size=size,
        labels=len(labels_of(manifest)),
        space=space,
        default=manifest.name == default,
        variants=variants,
        card=manifest.card,
    )


ROUTES = [
    Route("GET", "/api/models", "read", list_models, "The installed models.",
          answers={200: ModelsAnswer}),
    Route("PUT", "/api/models/default", "admin", use_model,
          "Re-embed every image with another model in the background, then switch to it.",
          body="json", body_type=DefaultModel, answers={202: JobAnswer},
          errors=(404, 409, 413, 422, 507)),
]  # fmt: skip

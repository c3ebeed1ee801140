"""`GET /v1/models`."""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.errors import ModelNotFound
from skerry.models.manifest import AnyModel


class ModelObject(msgspec.Struct):
    """A model as OpenAI's API lists it."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct):
    """All models that can be asked for by name."""

    data: list[ModelObject]
    object: Literal["list"] = "list"


async def list_models(exchange: Exchange) -> Answer:
    """The installed models."""
    installed = await exchange.node.installed_models()
    return json_answer(ModelList([_shape(model) for model in installed]))


async def get_model(exchange: Exchange) -> Answer:
    """One installed model."""
    wanted = exchange.path["model"]
    for model in await exchange.node.installed_models():
        if model.manifest.name == wanted:
            return json_answer(_shape(model))
    raise ModelNotFound(f"The model '{wanted[:80]}' does not exist.")


def _shape(model: AnyModel) -> ModelObject:
    created = int((model.folder / "manifest.json").stat().st_mtime)
    return ModelObject(model.manifest.name, created, model.manifest.source.kind)


ROUTES = [
    Route("GET", "/v1/models", "read", list_models, "The installed models (OpenAI).",
          answers={200: ModelList}, errors_as="openai"),
    Route("GET", "/v1/models/{model}", "read", get_model, "One installed model (OpenAI).",
          answers={200: ModelObject}, errors=(404,), errors_as="openai"),
]  # fmt: skip

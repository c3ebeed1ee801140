"""Models that are served: what becomes of a load that fails."""

from __future__ import annotations

import pytest

from skerry.errors import ModelNotFound, ModelUnavailable
from skerry.pipelines.features import FeatureExtractor
from skerry.pipelines.served import ServedModels


def failing(error: Exception) -> ServedModels:
    async def load(name: str, *, pull: bool) -> FeatureExtractor:
        raise error

    return ServedModels(load, default="main")


@pytest.mark.parametrize("error", [ModelUnavailable("cut short"), ValueError("cut short")])
async def test_a_load_that_fails_is_told_with_its_reason(error: Exception) -> None:
    models = failing(error)
    with pytest.raises(ModelUnavailable, match="cut short"):
        await models.get()
    assert models.all()[0].state == "failed"
    assert "cut short" in models.all()[0].reason
    with pytest.raises(ModelUnavailable, match="cut short"):
        models.ready()


async def test_an_unknown_model_leaves_no_trace_in_the_status() -> None:
    models = failing(ModelNotFound("no such model"))
    with pytest.raises(ModelNotFound):
        await models.get("other")
    assert [model.name for model in models.all()] == ["main"]

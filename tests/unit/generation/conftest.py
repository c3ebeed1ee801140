"""The default language model, and a generator over it that lives as long as its module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from running_node import pulled_models
from skerry.config import GenerationSettings
from skerry.errors import SourceUnreachable
from skerry.generation.openvino import OpenVinoGenerator
from skerry.metrics import Metrics
from skerry.models.manifest import ChatManifest, ChatModel, of_task
from skerry.models.store import ModelStore

SETTINGS = GenerationSettings(slots=2, context=512)


@pytest.fixture(scope="session")
def chat_model() -> ChatModel:
    """SmolLM2 as it is pulled; skips aloud when it cannot be."""
    try:
        model = ModelStore(pulled_models()).pull("smollm2-135m-instruct")
    except SourceUnreachable as error:
        pytest.skip(f"The language model cannot be pulled here: {error.message}")
    return of_task(model, ChatManifest)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator(chat_model: ChatModel) -> AsyncIterator[OpenVinoGenerator]:
    """Loaded once; its worker may be killed, and comes back."""
    generator = OpenVinoGenerator(chat_model, settings=SETTINGS, metrics=Metrics())
    await generator.open()
    yield generator
    await generator.close()

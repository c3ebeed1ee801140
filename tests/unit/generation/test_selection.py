"""Which runtime a file gets, and that the choice is said aloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.config import GenerationSettings
from skerry.errors import ConfigError, ModelUnavailable
from skerry.generation.selection import against_openvino, open_generator
from skerry.metrics import Metrics
from skerry.models.gguf import read_gguf
from tiny_gguf import write_model

SETTINGS = GenerationSettings(slots=1, context=256)


async def test_a_file_that_openvino_cannot_read_gets_llamacpp(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    model = write_model(tmp_path / "m.gguf", architecture="gpt2")
    generator = await open_generator(model, settings=SETTINGS, metrics=Metrics())
    await generator.close()
    assert generator.info.engine == "llamacpp"
    assert "not by OpenVINO: it reads no 'gpt2' models" in caplog.text


async def test_a_file_that_openvino_fails_to_load_gets_llamacpp_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: object) -> None:
        raise ModelUnavailable("The openvino worker was ended by SIGSEGV.")

    monkeypatch.setattr("skerry.generation.openvino.OpenVinoGenerator.open", fails)
    model = write_model(tmp_path / "m.gguf", architecture="qwen2")
    generator = await open_generator(model, settings=SETTINGS, metrics=Metrics())
    await generator.close()
    assert generator.info.engine == "llamacpp"
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert any("SIGSEGV. llama.cpp is tried" in message for message in warnings)


def test_the_processor_decides_beside_the_file(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.gguf", architecture="qwen2")
    header = read_gguf(model.path(model.manifest.file))
    assert against_openvino(header, machine="x86_64") == ""
    assert "aarch64" in against_openvino(header, machine="aarch64")


async def test_a_runtime_that_is_not_known_is_refused_with_the_nearest_name(
    tmp_path: Path,
) -> None:
    model = write_model(tmp_path / "m.gguf")
    settings = GenerationSettings(type="lamacpp")
    with pytest.raises(ConfigError) as refused:
        await open_generator(model, settings=settings, metrics=Metrics())
    assert "llamacpp" in refused.value.remedy


async def test_a_local_runtime_needs_a_model() -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        await open_generator(None, settings=GenerationSettings(), metrics=Metrics())


async def test_remote_needs_a_url() -> None:
    with pytest.raises(ConfigError, match=r"generation\.url"):
        settings = GenerationSettings(type="remote")
        await open_generator(None, settings=settings, metrics=Metrics())

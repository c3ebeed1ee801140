"""schemathesis holds the node against its own /openapi.json: nothing undocumented, no 5xx."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pictures import png
from running_node import RunningNode, wait_for_texts
from tiny_encoder import install_tiny_encoder

# Ids that exist, so that the calls reach more than "not found".
SETTINGS = """
[[operations]]
include-operation-id = "delete_image"
parameters = { "path.id" = 1 }

[[operations]]
include-operation-id-regex = "^(get_image|image_file|image_thumbnail|change_image|get_document)$"
parameters = { "path.id" = 2 }
"""


@pytest.fixture
def keyed(fast_node: Callable[..., RunningNode], fast_models: Path) -> RunningNode:
    """A node with a key, in whose name the calls are made, a few images and a document."""
    if not (fast_models / "tiny-encoder").exists():
        (fast_models / "tiny-encoder").mkdir()
        install_tiny_encoder(fast_models / "tiny-encoder")
    node = fast_node(environ={"SKERRY_MODELS_EMBEDDING": "tiny-encoder"})
    wait_for_texts(node)
    with node.client() as client:
        for _ in range(3):
            client.post("/api/images", content=png()).raise_for_status()
        document = {"id": "2", "text": "the cat sat on the mat"}
        client.post("/api/documents", json=document).raise_for_status()
        key = {"name": "a name that nobody guesses and revokes", "scope": "admin"}
        client.post("/api/keys", json=key).raise_for_status()
    secret = (node.data / "local.key").read_text().strip()
    node.headers = {"Authorization": f"Bearer {secret}"}
    return node


def test_the_node_answers_as_its_description_says(keyed: RunningNode, tmp_path: Path) -> None:
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS)
    schemathesis = Path(sys.executable).with_name("schemathesis")
    if not schemathesis.exists():
        pytest.skip("Needs schemathesis: pip install schemathesis")
    command = [
        schemathesis, "--config-file", settings, "run", f"{keyed.url}/openapi.json",
        "-H", f"Authorization: {keyed.headers['Authorization']}",
        # A text that fits the schema may still be no base64, no model's name, no time.
        "--checks", "all", "--exclude-checks", "positive_data_acceptance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", "4", "--seed", "4",
        "--continue-on-failure", "--no-color", "--warnings", "off",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert "No operations" not in done.stdout
    with keyed.client() as client:
        assert client.get("/readyz").status_code == 200
    assert "Traceback" not in keyed.log.read_text()

"""A real Chromium on the node's console; any error of the page fails the test that met it."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_page import DESKTOP, WAIT_MS, OpenConsole, Photo, Problems, picture, sync_api

from running_node import RunningNode

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
LOAD_S = 100.0


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    """One Chromium a module: a longer life would keep Playwright's event loop under other tests."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("The console's tests need Debian's chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def problems() -> Iterator[Problems]:
    """Fails the test when a page met an error or a violated content security policy."""
    kept = Problems()
    yield kept
    assert kept.unexpected() == []


@pytest.fixture
def open_console(browser: sync_api.Browser, problems: Problems) -> Iterator[OpenConsole]:
    """Open the console of a node, `view` and all, in a browser context of its own."""
    contexts = []

    def open_(url: str, view: str = "", **options: object) -> sync_api.Page:
        context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        problems.watch(page)
        # Heard from the start: asked for only when a test waits, Chromium may learn it too late.
        page.on("filechooser", lambda _: None)
        page.goto(f"{url}/console{f'#/{view}' if view else ''}")
        return page

    sync_api.expect.set_options(timeout=WAIT_MS)
    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def chat_node(text_node: RunningNode) -> RunningNode:
    """The node of texts with its language model in memory: loading it may take a while."""
    return _loaded(text_node, "/v1/completions", {"prompt": "Hello", "max_tokens": 1})


@pytest.fixture
def reading_node(text_node: RunningNode) -> RunningNode:
    """The node of texts with what classifies and embeds in memory."""
    _loaded(text_node, "/v1/embeddings", {"input": "Hello"})
    return _loaded(text_node, "/api/classify", {"text": "Hello"})


def _loaded(node: RunningNode, path: str, least: dict[str, object]) -> RunningNode:
    with node.client() as client:
        answer = client.post(path, json=least, timeout=LOAD_S)
    assert answer.status_code == 200, answer.text
    return node


@pytest.fixture
def owner(request: pytest.FixtureRequest) -> str:
    """A name of this test's own: what it stores under it can be told from the others' images."""
    return f"owner-{zlib.crc32(request.node.nodeid.encode()):x}"


@pytest.fixture
def photo(request: pytest.FixtureRequest, tmp_path: Path) -> Photo:
    """Write `picture(seed)` to a file; seeds of different tests never meet."""
    base = zlib.crc32(request.node.nodeid.encode())

    def write(seed: int = 0, name: str = "", *, folder: str = "", quality: int = 90) -> Path:
        path = tmp_path / folder / (name or f"photo-{seed}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(base + seed, quality=quality))
        return path

    return write

"""What the console's tests share: pictures, drops, and a watch on the page's errors."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="The console's tests need the Python package playwright."
)
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
WAIT_MS = 15_000

OpenConsole = Callable[..., sync_api.Page]
Photo = Callable[..., Path]

# What lies behind an open dialog is dimmed and out of reach: only the dialog is judged then.
AXE = """async () => {
  const shown = document.querySelector("dialog[open], [role=dialog]") ?? document;
  return (await axe.run(shown, { resultTypes: ["violations"] })).violations;
}"""
DROP = """([base64, name, type]) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
  }
}"""
COPY = """async (base64) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes]));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  const png = await canvas.convertToBlob({ type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
}"""


@dataclass
class Problems:
    """What went wrong in a page, but for what its test provokes and announces by `expect`."""

    met: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        self.expected.append(pattern)

    def watch(self, page: sync_api.Page) -> None:
        page.on("pageerror", lambda error: self.met.append(f"page: {error}"))
        page.on("console", self._console)
        page.on("requestfailed", self._request)

    def _console(self, message: sync_api.ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.met.append(f"console: {message.text} {message.location.get('url', '')}")

    def _request(self, request: sync_api.Request) -> None:
        # The page aborts its own requests when they are no longer wanted.
        if request.failure != "net::ERR_ABORTED":
            self.met.append(f"request: {request.url} {request.failure}")

    def unexpected(self) -> list[str]:
        return [met for met in self.met if not any(re.search(e, met) for e in self.expected)]


OpenConsole = Callable[..., sync_api.Page]


def assert_accessible(page: Any) -> None:
    """No fault in what is shown; open it with `reduced_motion`, or colours are judged half-way."""
    axe = pytest.importorskip(
        "axe_playwright_python", reason="The check for accessibility needs axe-playwright-python."
    )
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    faults = page.evaluate(AXE)
    assert not faults, json.dumps(
        [{"id": fault["id"], "at": [n["html"][:160] for n in fault["nodes"]]} for fault in faults],
        indent=1,
    )


def page_width(page: Any) -> int:
    """Width of all that can be scrolled to."""
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width


def picture(seed: int, *, quality: int = 90, size: tuple[int, int] = (320, 240)) -> bytes:
    """A JPEG of coloured shapes, another one for each seed; `quality` gives it a near double."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(random.integers(0, 255, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = random.integers(0, size[0] // 2), random.integers(0, size[1] // 2)
        box = (left, top, left + random.integers(20, 160), top + random.integers(20, 120))
        draw.ellipse([int(side) for side in box], fill=tuple(random.integers(0, 255, 3).tolist()))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def store(client: httpx.Client, *paths: Path, **fields: str) -> list[dict[str, object]]:
    """Store files by the API; the images as the node answers them."""
    files = [("file", (path.name, path.read_bytes(), "image/jpeg")) for path in paths]
    answer = client.post("/api/images", files=files, data=fields)
    assert answer.status_code in (200, 201), answer.text
    images: list[dict[str, object]] = answer.json()["images"]
    return images


def drop(page: Any, path: Path, *, media_type: str = "image/jpeg") -> None:
    """Drop one file on the page as the browser would."""
    content = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(DROP, [content, path.name, media_type])


def copy(page: Any, path: Path) -> None:
    """Put a picture into the clipboard; needs the permission clipboard-write."""
    page.evaluate(COPY, base64.b64encode(path.read_bytes()).decode())


def choose(page: Any, path: Path) -> None:
    """Choose the photo to recognise."""
    page.get_by_label("Photo to recognise").set_input_files(path)


def expect_answer(page: Any) -> None:
    """Wait for the labels with their probabilities."""
    labels = page.get_by_role("region", name="What it is")
    sync_api.expect(labels.get_by_role("listitem")).to_have_count(5)
    sync_api.expect(labels.locator(".bar-value").first).to_have_text(re.compile(r"\d%$"))

"""What `skerry doctor` looks at, each check one function."""

from __future__ import annotations

import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from skerry.cli.http import open_client
from skerry.cli.models.facts import first_model
from skerry.cli.options import Options
from skerry.cli.output import count, size
from skerry.errors import NodeUnreachable, SkerryError

if TYPE_CHECKING:
    from skerry.client.answers import Status
    from skerry.config import Settings

LOW_SPACE_BYTES = 1 << 30
NO_SPACE_BYTES = 64 << 20
IMPORT_TIMEOUT_S = 60

# module -> its distribution, and what fails without it
# The engines by our own modules, which keep them from reporting each import to their makers.
NATIVE_MODULES = {
    "skerry.inference.openvino": ("openvino", "the default engine on CPUs"),
    "skerry.inference.onnx": ("onnxruntime", "the engine on ARM, CUDA and CoreML"),
    "qdrant_edge": ("qdrant-edge-py", "vector search"),
    "apsw": ("apsw", "the database"),
}
SHOWN_FLAGS = {
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8",
    "asimd", "asimddp", "bf16", "i8mm", "sve",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `remedy` says what to do about a warning or a failure."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def machine() -> Iterator[Finding]:
    """Interpreter, platform and processor."""
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield _platform()
    yield _processor()


def _platform() -> Finding:
    text = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if platform.machine().lower() in {"x86_64", "amd64", "aarch64", "arm64"}:
        return Finding("platform", "ok", text)
    remedy = "Its packages have wheels for x86-64 and aarch64 only."
    return Finding("platform", "warn", text, remedy)


def _processor() -> Finding:
    from skerry.inference.cpu import this_cpu

    cpu = this_cpu()
    flags = " ".join(sorted(cpu.flags & SHOWN_FLAGS)) or "flags unknown"
    text = f"{cpu.name}, {count(cpu.cores, 'core')}, {flags}"
    if cpu.flags and not cpu.has_int8_dot_product:
        remedy = "Without INT8 instructions a quantized model gains speed, but less of it."
        return Finding("processor", "warn", text, remedy)
    return Finding("processor", "ok", text)


def packages() -> Iterator[Finding]:
    """The version of skerry, and whether its native modules load."""
    yield Finding("skerry", "ok", f"{metadata.version('skerry')} at {Path(__file__).parents[1]}")
    started = {name: _import_elsewhere(name) for name in NATIVE_MODULES}
    for name, process in started.items():
        yield _imported(name, process)


def _import_elsewhere(module: str) -> subprocess.Popen[str]:
    # In a process of its own: a wheel built for another processor ends the one that loads it.
    return subprocess.Popen(
        [sys.executable, "-c", f"import {module}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _imported(module: str, process: subprocess.Popen[str]) -> Finding:
    distribution, role = NATIVE_MODULES[module]
    try:
        _, err = process.communicate(timeout=IMPORT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
    if process.returncode == 0:
        return Finding(distribution, "ok", f"{_version(distribution)} loads")
    reason = err.strip().splitlines()[-1] if err.strip() else f"ended with {process.returncode}"
    remedy = f"It is {role}: run pip install --force-reinstall {distribution}."
    return Finding(distribution, "fail", reason, remedy)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # another build of it, such as onnxruntime-gpu
        return "another build"


def data(settings: Settings) -> Iterator[Finding]:
    """Whether the data folder can be written, and how much fits."""
    folder = settings.data_folder
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    state = "" if existing == folder else ", made at the first start"
    try:
        with tempfile.TemporaryFile(dir=existing):
            yield Finding("data", "ok", f"{folder} can be written{state}")
    except OSError as error:
        remedy = "Give this user the folder, or name another with --data or SKERRY_DATA."
        yield Finding("data", "fail", f"{folder}: {error.strerror or error}", remedy)
    yield _space(existing)


def _space(folder: Path) -> Finding:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes > LOW_SPACE_BYTES:
        return Finding("space", "ok", f"{size(free_bytes)} free")
    state: Literal["warn", "fail"] = "warn" if free_bytes > NO_SPACE_BYTES else "fail"
    return Finding("space", state, f"{size(free_bytes)} free", "Free some space on that disk.")


def models(settings: Settings) -> Iterator[Finding]:
    """Whether the default model is there, and every model still what was installed."""
    from skerry.models.store import ModelStore

    store, default = ModelStore(settings.models_folder), first_model(settings)
    folders = sorted(path.parent.name for path in store.folder.glob("*/manifest.json"))
    if default not in folders:
        remedy = f"Run 'skerry models pull {default}'; without it the node recognises nothing."
        yield Finding("model", "warn", f"{default} is not in {store.folder}", remedy)
    for name in folders:
        try:
            model = store.verify(name)
        except SkerryError as error:
            yield _failed("model", error)
        else:
            kept = " ".join(variant.precision for variant in model.manifest.variants)
            yield Finding("model", "ok", f"{name}: {kept}, checksums agree")


def node(options: Options, settings: Settings) -> Iterator[Finding]:
    """Whether a node answers and is well; else whether its port is free."""
    try:
        with open_client(options, timeout_s=5, patience_s=0) as client:
            url, status = client.url, client.status()
    except NodeUnreachable as error:
        yield _port(settings, error) if not options.url else _failed("node", error)
    except SkerryError as error:
        yield _failed("node", error)
    else:
        yield from _running(status, url)


def _running(status: Status, url: str) -> Iterator[Finding]:
    own = metadata.version("skerry")
    if status.version == own:
        yield Finding("node", "ok", f"{url} answers, {count(status.images, 'image')} stored")
    else:
        remedy = "Restart the node, so that it and its commands are of one version."
        yield Finding("node", "warn", f"{url} runs {status.version}, this is {own}", remedy)
    for name, part in status.parts.items():
        if part.state != "ready":
            state: Literal["warn", "fail"] = "fail" if part.state == "failed" else "warn"
            yield Finding(name, state, f"{part.state}: {part.reason}", "See the node's log.")


def _port(settings: Settings, error: NodeUnreachable) -> Finding:
    host, port = settings.node.host, settings.node.port
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(address[0], address[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address[4])
    except OSError as refused:
        text = f"{host}:{port} cannot be used: {refused.strerror or refused}. {error.message}"
        remedy = "Stop what holds the port, or choose another with 'skerry up --port'."
        return Finding("node", "fail", text, remedy)
    return Finding("node", "ok", f"none runs; {host}:{port} is free for 'skerry up'")


def redis(settings: Settings) -> Iterator[Finding]:
    """Whether the Redis that the settings name answers; nothing where they name none."""
    urls = {
        str(url)
        for kind, url in (
            (settings.cache.type, settings.cache.url),
            (settings.kv.get("type"), settings.kv.get("url", "")),
        )
        if kind == "redis"
    }
    for url in sorted(urls):
        yield _ping(url)


def _ping(url: str) -> Finding:
    try:
        from redis import Redis, RedisError
    except ModuleNotFoundError:
        return Finding("redis", "fail", "not installed", "Run pip install 'skerry[redis]'.")
    try:
        with Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as server:
            server.ping()
    except (RedisError, ValueError, OSError) as error:
        return Finding("redis", "fail", f"{url}: {error}", "Start it, or correct its URL.")
    return Finding("redis", "ok", f"{url} answers")


def _failed(name: str, error: SkerryError) -> Finding:
    return Finding(name, "fail", error.message, error.remedy)

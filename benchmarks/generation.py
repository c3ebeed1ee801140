"""How much of the bare runtime's tokens a second come through HTTP, and beside llama.cpp?"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from _chats import as_load, chats, chatting, prompts
from _load import Load, Sender
from _photos import TYPICAL, photos
from _processes import MODELS, Service, pull_models, spawn, start_node, stopped_after
from _report import Bars, Cell, Claim, Report, Table, publish
from _rounds import Contender, Series, by_turns, posting

from skerry.inference.cpu import usable_cores
from skerry.models.manifest import ChatManifest, of_task
from skerry.models.store import ModelStore

MODEL = "smollm2-135m-instruct"
BARE, NODE, LLAMA, NODE_LLAMA = (
    "floor: OpenVINO GenAI alone",
    "Skerry",
    "llama.cpp's own server",
    "Skerry on llama.cpp",
)
STREAMS = (1, 4)
SLOTS, CONTEXT = 4, 1024
TARGET = 0.95
S3_LATENCY_MS, S3_PER_S = 145.0, 27.0
"""Of the guide's table, on an RTX 3090: 50 tokens, and requests a second at concurrency 4."""
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Images:
    """Recognising alone, and while chats stream."""

    alone: Load
    beside: Load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=96, help="of one answer")
    parser.add_argument("--seconds", type=int, default=6, help="of a turn of requests")
    arguments = parser.parse_args()
    pull_models()
    file = pull_language_model()
    with tempfile.TemporaryDirectory(prefix="skerry-generation-") as name:
        figures = measure(Path(name), file, arguments)
    publish(figures)


def pull_language_model() -> Path:
    """Where the file lies, pulled if need be."""
    command = [sys.executable, "-m", "skerry", "models", "pull", MODEL]
    subprocess.run(command, env=os.environ | {"SKERRY_MODELS": str(MODELS)}, check=True)
    model = of_task(ModelStore(MODELS).get(MODEL), ChatManifest)
    return model.path(model.manifest.file)


def measure(folder: Path, file: Path, arguments: argparse.Namespace) -> Report:
    """Everything by turns, then the report."""
    settings = {
        "models_chat": MODEL,
        "generation_slots": SLOTS,
        "generation_context": CONTEXT,
        "cache_type": "off",
    }
    bare = start_bare(folder, file)
    llama = start_llama(folder, file)
    node = start_node(folder / "node", **settings, generation_type="openvino")
    second = start_node(folder / "second", **settings, generation_type="llamacpp")
    with stopped_after([bare, llama, node, second]):
        spoken = {
            streams: by_turns(
                contenders(bare, [node, llama, second], streams=streams, tokens=arguments.tokens),
                rounds=arguments.rounds,
            )
            for streams in STREAMS
        }
        for service in (bare, llama, second):
            service.pause()
        guide = [guide_turn(node, folder, clients=clients, seconds=arguments.seconds)
                 for clients in STREAMS]  # fmt: skip
        images = recognise_beside(node, seconds=arguments.seconds)
    return report(spoken, guide, images, arguments)


def start_bare(folder: Path, file: Path) -> Service:
    """The runtime alone, loaded."""
    script = str(HERE / "_generation_child.py")
    service = spawn(BARE, [script, str(file)], log=folder / "bare.log")
    answer_of(service)
    return service


def start_llama(folder: Path, file: Path) -> Service:
    """llama.cpp's server, with as many threads as the node has cores."""
    script = str(HERE.parent / "tests" / "llama_peer.py")
    words = [script, str(file), "0", str(SLOTS), str(CONTEXT), "give-way"]
    service = spawn(LLAMA, words, log=folder / "llama.log")
    assert service.process.stdout is not None
    service.url = service.process.stdout.readline().strip()
    return service


def answer_of(service: Service) -> dict[str, object]:
    """The next line it says."""
    assert service.process.stdout is not None
    line = service.process.stdout.readline()
    if not line:
        raise SystemExit(f"{service.name} ended")
    answer: dict[str, object] = json.loads(line)
    return answer


def contenders(
    bare: Service, servers: Sequence[Service], *, streams: int, tokens: int
) -> list[Contender]:
    """The floor and the servers, each with `streams` answers at once."""

    def floor() -> Load:
        assert bare.process.stdin is not None
        order = {"prompts": prompts(streams), "tokens": tokens}
        bare.process.stdin.write(json.dumps(order) + "\n")
        bare.process.stdin.flush()
        return as_load(**answer_of(bare))  # type: ignore[arg-type]

    def over_http(service: Service) -> Callable[[], Load]:
        return lambda: chats(service.url, model=MODEL, streams=streams, tokens=tokens)

    names = (NODE, LLAMA, NODE_LLAMA)
    return [
        Contender(BARE, bare, floor),
        *(
            Contender(name, service, over_http(service))
            for name, service in zip(names, servers, strict=True)
        ),
    ]


def guide_turn(node: Service, folder: Path, *, clients: int, seconds: int) -> Load:
    """`POST /generate` for 50 tokens, as the guide measures it."""
    body = folder / "generate.json"
    body.write_text(json.dumps({"prompt": "Once upon a time", "max_tokens": 50}))
    sender = Sender(f"{node.url}/generate", [body], content_type="application/json")
    return posting(node, sender, clients=clients, seconds=seconds)()


def recognise_beside(node: Service, *, seconds: int) -> Images:
    """Recognising by two clients, alone and beside four chats."""
    sender = Sender(f"{node.url}/api/recognize", photos(TYPICAL, 40))
    sender.send(clients=2, seconds=1)
    alone = sender.send(clients=2, seconds=seconds)
    with chatting(node.url, model=MODEL, streams=SLOTS):
        beside = sender.send(clients=2, seconds=seconds)
    return Images(alone, beside)


def report(
    spoken: dict[int, dict[str, Series]],
    guide: Sequence[Load],
    images: Images,
    arguments: argparse.Namespace,
) -> Report:
    """The figures, ratios first."""
    shares = {n: series[NODE].share_of(series[BARE]) for n, series in spoken.items()}
    over_llama = {n: series[NODE].share_of(series[LLAMA]) for n, series in spoken.items()}
    own_llama = {n: series[NODE_LLAMA].share_of(series[LLAMA]) for n, series in spoken.items()}
    many = spoken[STREAMS[-1]]
    return Report(
        name="generation",
        title="Language: tokens a second",
        question="How much of the runtime is left behind HTTP, a queue and another process?",
        claims=[
            *(
                Claim(f"Share of the bare runtime, streams: {n}", 100 * share, 100 * TARGET, "%")
                for n, share in shares.items()
            ),
            *(
                Claim(f"On llama.cpp, share of its own server, streams: {n}",
                      100 * share, 100 * TARGET, "%")
                for n, share in own_llama.items()
            ),
            *(
                Claim(f"Rate over llama.cpp's server, streams: {n}", share, 1.0, "x")
                for n, share in over_llama.items()
            ),
            Claim(
                "Recognise P95 while four chats stream, over alone",
                images.beside.p95_ms / images.alone.p95_ms, 2.0, "x", at_most=True,
            ),
        ],
        tables=[
            *(_rates(n, series) for n, series in spoken.items()),
            _guide(guide),
            _images(images),
        ],
        plots=[
            Bars(
                f"Tokens a second, {STREAMS[-1]} streams", "tokens/s", list(many),
                [one.per_s for one in many.values()], reference=many[BARE].per_s,
            )
        ],
        notes=[
            f"SmolLM2-135M-Instruct, one GGUF file (Q4_1) for all; {arguments.tokens} tokens at "
            f"temperature 0 after a prompt of about 70 that no cache has; {usable_cores()} "
            f"threads; {arguments.rounds} rounds, medians.",
            "The floor makes its prompts in the same process and writes no text. The servers "
            "stream each token as JSON to a client on the same cores.",
            "Skerry's workers run with niceness 10, so that images keep their latency; the bare "
            "runtime and llama.cpp's server do so here too.",
        ],
    )  # fmt: skip


def _rates(streams: int, series: dict[str, Series]) -> Table:
    floor = series[BARE]
    rows: list[list[Cell]] = [
        [name, 100 * one.share_of(floor), one.per_s, one.of("p50_ms"), one.of("p95_ms")]
        for name, one in series.items()
    ]
    columns = ["", "share of floor, %", "tokens/s", "first token P50, ms", "slowest first, ms"]
    return Table(f"Streams at once: {streams}", columns, rows)


def _guide(guide: Sequence[Load]) -> Table:
    alone, many = guide
    rows: list[list[Cell]] = [
        ["50 tokens, one client, ms", alone.p50_ms, S3_LATENCY_MS],
        ["requests/s, four clients", many.per_s, S3_PER_S],
    ]
    return Table("POST /generate beside the guide's S3", ["", "here", "RTX 3090"], rows)


def _images(images: Images) -> Table:
    rows: list[list[Cell]] = [
        ["alone", images.alone.per_s, images.alone.p50_ms, images.alone.p95_ms],
        ["beside four chats", images.beside.per_s, images.beside.p50_ms, images.beside.p95_ms],
    ]
    return Table("Recognising, two clients", ["", "images/s", "P50, ms", "P95, ms"], rows)


if __name__ == "__main__":
    main()

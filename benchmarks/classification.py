"""Classify texts: one at a time and 32 at a time, and what INT8 makes of two classifiers."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _processes import HERE, MODELS
from _random_bert import BERT_BASE, install_bert_base
from _report import ROOT, Cell, Claim, Report, Table, publish
from tokenizers import Tokenizer

from skerry.inference.cpu import this_cpu, usable_cores
from skerry.models.manifest import ClassifierManifest, ClassifierModel, of_task
from skerry.models.store import ModelStore

SENTIMENT = "minilm-sentiment"
BATCH, SHORT, LONG = 32, 24, 128
"""Texts of a call, and tokens of a sentence and of a paragraph."""
GUIDE_MS, GUIDE_PER_S, GUIDE_MB, GUIDE_CORES = 45.0, 28.0, 850.0, 16
GUIDE_SMALLER, GUIDE_FASTER, GUIDE_LOSS = 4.0, 1.8, 2.0
LONGEST = 128
CHECK_TEXTS = 400


@dataclass(slots=True)
class Contender:
    """An encoder in a process of its own, and what its turns gave."""

    model: str
    engine: str
    precision: str
    process: subprocess.Popen[str]
    figures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What a row is called."""
        return f"{self.model} {self.precision}, {self.engine}"

    def ask(self, **words: Any) -> dict[str, Any]:
        """Its answer to one line; SystemExit when it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return heard(self.process, self.name)

    def note(self, figure: str, value: float) -> None:
        """Keep one turn's figure."""
        self.figures.setdefault(figure, []).append(value)

    def of(self, figure: str) -> float:
        """The median over the turns."""
        return median(self.figures[figure])


@dataclass(frozen=True, slots=True)
class Nearness:
    """INT8's answers beside FP32's on the same texts; macro-F1 where labels were at hand."""

    texts: str
    agreement: float
    cosine: float
    f1: tuple[float, float] | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one turn")
    parser.add_argument("--data", type=Path, help="labelled sentences, as scripts/sentiment reads")
    arguments = parser.parse_args()
    store = ModelStore(MODELS)
    store.pull(SENTIMENT)
    install_bert_base(store)
    contenders: list[Contender] = []
    with ExitStack() as stack:
        for model in (SENTIMENT, BERT_BASE):
            for engine, precision in combinations():
                contenders.append(stack.enter_context(started(model, engine, precision)))
        for _ in range(arguments.rounds):
            one_round(contenders, seconds=arguments.seconds)
        for contender in contenders:
            contender.note("rss_mb", contender.ask(memory=True)["rss_mb"])
        near = {
            model: nearness(store, model, contenders, data=arguments.data)
            for model in (SENTIMENT, BERT_BASE)
        }
    publish(report(store, contenders, near, arguments))


def combinations() -> list[tuple[str, str]]:
    """Engines and precisions this CPU has; plain ONNX Runtime is the floor to be above."""
    half = [("openvino", "bf16")] if this_cpu().has_bf16 else []
    return [("onnx", "fp32"), ("openvino", "fp32"), *half, ("openvino", "int8")]


@contextmanager
def started(model: str, engine: str, precision: str) -> Iterator[Contender]:
    """A process that has the model loaded, until the block ends."""
    command = [sys.executable, str(HERE / "_encoder_child.py"), str(MODELS), model]
    with subprocess.Popen(
        [*command, engine, precision],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        contender = Contender(model, engine, precision, process)
        ready = heard(process, contender.name)
        print(f"  {contender.name}: loaded", flush=True)
        if ready["precision"] != precision:
            raise SystemExit(f"{contender.name} runs in {ready['precision']}")
        yield contender
        process.communicate()


def heard(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    """One line of a child; what libraries print is passed over."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            words: dict[str, Any] = json.loads(line)
            return words
    raise SystemExit(f"{name} ended at once")


def one_round(contenders: Sequence[Contender], *, seconds: float) -> None:
    """A turn of everyone at every size; the others wait for their next line meanwhile."""
    for texts, tokens in ((1, SHORT), (1, LONG), (BATCH, SHORT), (BATCH, LONG)):
        for contender in contenders:
            turn = contender.ask(texts=texts, tokens=tokens, seconds=seconds)
            contender.note(f"ms {texts} {tokens}", turn["ms"])
            contender.note(f"per_s {texts} {tokens}", turn["per_s"])
            print(f"  {contender.name}: {texts} of {tokens} in {turn['ms']:.1f} ms", flush=True)


def nearness(
    store: ModelStore, model: str, contenders: Sequence[Contender], *, data: Path | None
) -> Nearness:
    """OpenVINO's INT8 beside its FP32 on the same texts."""
    installed = of_task(store.get(model), ClassifierManifest)
    labelled = labelled_texts(data) if data is not None else []
    texts = [text for text, _ in labelled] or unlabelled_texts()
    fp32, int8 = (
        logits(contender, installed, texts)
        for precision in ("fp32", "int8")
        for contender in contenders
        if (contender.model, contender.engine, contender.precision)
        == (model, "openvino", precision)
    )
    a, b = (values - fp32.mean(0) for values in (fp32, int8))
    cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    f1 = None
    if labelled and model == SENTIMENT:
        wanted = np.array([label for _, label in labelled])
        f1 = (macro_f1(wanted, fp32.argmax(1)), macro_f1(wanted, int8.argmax(1)))
    what = "sentences held out" if labelled else "sentences"
    agreement = float((fp32.argmax(1) == int8.argmax(1)).mean())
    return Nearness(f"{len(texts)} {what}", agreement, float(cosines.mean()), f1)


def logits(contender: Contender, model: ClassifierModel, texts: Sequence[str]) -> np.ndarray:
    """What a contender says of the texts."""
    tokenizer = Tokenizer.from_file(str(model.path(model.manifest.text.tokenizer)))
    rows = [found.ids[:LONGEST] for found in tokenizer.encode_batch(texts)]
    padded = np.full((len(rows), LONGEST), -1, np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    with tempfile.TemporaryDirectory() as name:
        given, answered = Path(name) / "ids.npy", Path(name) / "logits.npy"
        np.save(given, padded)
        contender.ask(logits=str(given), into=str(answered))
        answers: np.ndarray = np.load(answered)
        return answers


def labelled_texts(data: Path) -> list[tuple[str, int]]:
    """Every tenth sentence of the domain held out in training, with its class."""
    sys.path.insert(0, str(ROOT / "scripts" / "sentiment"))
    from texts import read_texts

    held_out = [text for text in read_texts(data) if text.domain == "tweets"]
    return [(text.text, text.label) for text in held_out[::10]]


def unlabelled_texts() -> list[str]:
    """Sentences of this project's own documents."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    text = " ".join(" ".join(page.read_text("utf-8").split()) for page in pages)
    return [part for part in text.split(". ") if 20 < len(part) < 300][:CHECK_TEXTS]


def macro_f1(wanted: np.ndarray, said: np.ndarray) -> float:
    """The mean of the classes' F1."""
    scores = [
        2 * ((wanted == label) & (said == label)).sum()
        / max(1, (wanted == label).sum() + (said == label).sum())
        for label in np.unique(wanted)
    ]  # fmt: skip
    return float(np.mean(scores))


def report(
    store: ModelStore,
    contenders: Sequence[Contender],
    near: dict[str, Nearness],
    arguments: argparse.Namespace,
) -> Report:
    """Both tables beside the guide's."""
    base = [one for one in contenders if one.model == BERT_BASE and one.engine == "openvino"]
    best = min(base, key=lambda one: one.of(f"ms 1 {SHORT}"))
    cores = usable_cores()
    return Report(
        name="classification",
        title="Text classification",
        question="What do one text, 32 texts and INT8 cost, beside the guide's BERT-base?",
        claims=[
            Claim(f"One text, {best.name}", best.of(f"ms 1 {SHORT}"), GUIDE_MS, "ms", at_most=True),
            Claim(
                f"Batches of {BATCH}, {best.name}",
                best.of(f"per_s {BATCH} {SHORT}"),
                GUIDE_PER_S,
                "texts/s",
            ),
            Claim(f"Memory, {best.name}", best.of("rss_mb"), GUIDE_MB, "MB", at_most=True),
        ],
        tables=[_figures(contenders), _int8(store, contenders, near)],
        notes=[
            f"{BERT_BASE} has the size of the guide's BERT-base cased and random weights: its "
            "quality figures say how far INT8 moves an answer, and nothing of trained weights.",
            f"The guide's figures are of {GUIDE_CORES} cores, these of {cores}. Texts of {SHORT} "
            f"and {LONG} tokens; {arguments.rounds} rounds, medians; engine calls without HTTP. "
            "Memory is the whole process, Python included.",
            *_quality_notes(near),
        ],
    )


def _figures(contenders: Sequence[Contender]) -> Table:
    rows: list[list[Cell]] = [
        [
            one.name,
            *(one.of(f"ms 1 {tokens}") for tokens in (SHORT, LONG)),
            *(one.of(f"per_s {BATCH} {tokens}") for tokens in (SHORT, LONG)),
            one.of("rss_mb"),
        ]
        for one in contenders
    ]
    rows.append([f"the guide's ({GUIDE_CORES} cores)", GUIDE_MS, "", GUIDE_PER_S, "", GUIDE_MB])
    columns = [
        "", f"one of {SHORT} tokens, ms", f"one of {LONG}, ms",
        f"{BATCH} of {SHORT}, texts/s", f"{BATCH} of {LONG}, texts/s", "memory, MB",
    ]  # fmt: skip
    return Table("One text and a batch", columns, rows)


def _int8(store: ModelStore, contenders: Sequence[Contender], near: dict[str, Nearness]) -> Table:
    rows: list[list[Cell]] = []
    for model, nearness_found in near.items():
        fp32, int8 = (
            next(
                one
                for one in contenders
                if (one.model, one.engine, one.precision) == (model, "openvino", precision)
            )
            for precision in ("fp32", "int8")
        )
        latency = fp32.of(f"ms 1 {SHORT}") / int8.of(f"ms 1 {SHORT}")
        rate = int8.of(f"per_s {BATCH} {SHORT}") / fp32.of(f"per_s {BATCH} {SHORT}")
        big, small = sizes_mb(store, model)
        rows.append([
            model, f"{big:.1f} → {small:.1f}", big / small, latency, rate,
            fp32.of("rss_mb"), int8.of("rss_mb"),
            100 * (1 - nearness_found.agreement), nearness_found.cosine,
        ])  # fmt: skip
    rows.append(["the guide's", "548 → 137", GUIDE_SMALLER, GUIDE_FASTER, "", 3200, 800,
                 GUIDE_LOSS, ""])  # fmt: skip
    columns = [
        "FP32 → INT8", "size, MB", "smaller, x", "latency, x", "rate, x", "memory FP32, MB",
        "INT8, MB", "answers changed, %", "cosine of logits",
    ]  # fmt: skip
    return Table("What INT8 brings (OpenVINO)", columns, rows)


def sizes_mb(store: ModelStore, model: str) -> tuple[float, float]:
    """Megabytes of the weights in FP32, and with every matrix in 8 bits and a scale per row."""
    import onnx

    installed = store.get(model)
    variant = installed.manifest.variant("fp32")
    assert variant is not None
    graph = onnx.load(installed.path(variant), load_external_data=False)
    full = small = 0
    for tensor in graph.graph.initializer:
        count = int(np.prod(tensor.dims))
        full += 4 * count
        small += count + 4 * max(tensor.dims) if len(tensor.dims) == 2 else 4 * count
    return full / 1e6, small / 1e6


def _quality_notes(near: dict[str, Nearness]) -> list[str]:
    notes = [
        f"{model}, INT8 beside FP32 on {found.texts}: the same class for "
        f"{100 * found.agreement:.1f}%, mean cosine of the centred logits {found.cosine:.4f}"
        + (f"; macro-F1 {found.f1[0]:.3f} and {found.f1[1]:.3f}." if found.f1 else ".")
        for model, found in near.items()
    ]
    if not any(found.f1 for found in near.values()):
        notes.append("Macro-F1 needs labelled sentences: give their folder as --data.")
    return notes


if __name__ == "__main__":
    main()

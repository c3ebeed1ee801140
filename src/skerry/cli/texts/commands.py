"""`skerry classify` and `skerry embed`: a file of texts in, a record for each out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import count, note
from skerry.cli.progress import Progress
from skerry.cli.texts.files import Format, Record, RecordFile, TextFile, batches, text_options

if TYPE_CHECKING:
    from skerry.client import Client

PATIENCE_S = 120.0


@click.command(
    epilog=examples(
        "skerry classify reviews.txt",
        "skerry classify reviews.csv --column comment --output labels.csv",
        "echo 'What a lovely shop' | skerry classify -",
    )
)
@text_options
@node_options
@click.pass_obj
def classify(options: Options, /, **given: Any) -> None:
    """Classify each text of FILE (lines, .csv, .jsonl; '-' reads stdin).

    A record has the text, its label, and the probability of each label.
    """

    def ask(node: Client, texts: list[str], **asked: Any) -> list[Record]:
        found = node.texts.classify(texts, **asked)
        return [{"label": one.label, **one.probabilities} for one in found]

    _run(options, "Classifying", ask, **given)


@click.command(
    epilog=examples(
        "skerry embed texts.txt --output vectors.jsonl",
        "skerry embed faq.csv --column question -o faq.jsonl",
    )
)
@text_options
@node_options
@click.pass_obj
def embed(options: Options, /, **given: Any) -> None:
    """Turn each text of FILE (lines, .csv, .jsonl; '-' reads stdin) into a vector.

    A record has the text and its embedding.
    """

    def ask(node: Client, texts: list[str], **asked: Any) -> list[Record]:
        return [{"embedding": vector} for vector in node.texts.embed(texts, **asked)]

    _run(options, "Embedding", ask, **given)


def _run(
    options: Options,
    title: str,
    ask: Callable[..., Sequence[Record]],
    *,
    file: Path,
    column: str | None,
    output: Path | None,
    form: Format | None,
    model: str | None,
    long: str,
) -> None:
    source, target = TextFile(file, column), RecordFile(output, form)
    texts = source.texts()
    if target.done:
        target.check_continues(islice(texts, target.done))
        note(f"{output} holds {count(target.done, 'record')}: going on after them.")
    with (
        open_client(options, patience_s=PATIENCE_S) as node,
        target.writer() as write,
        Progress(title, total=None) as progress,
    ):
        for batch in batches(texts):
            records = ask(node, batch, model=model, long=long)
            write([{"text": text, **record} for text, record in zip(batch, records, strict=True)])
            progress.advance(len(batch))
    if output is not None:
        note(f"{output}: {count(target.done + int(progress.done), 'record')}.")

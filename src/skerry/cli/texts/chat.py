"""`skerry chat`: talk to the node's language model in the terminal."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import note, print_json, say, show_error, style
from skerry.errors import SkerryError

if TYPE_CHECKING:
    from skerry.client import Client

LONG_S = 600.0
PATIENCE_S = 60.0


@click.command(
    epilog=examples(
        "skerry chat                              a conversation; Ctrl-D ends it",
        'skerry chat "Name three fruits."         one answer',
        "git diff | skerry chat 'Sum this up:' -  the rest of the prompt from stdin",
    )
)
@click.argument("prompt", nargs=-1, metavar="[PROMPT...]")
@click.option("--system", metavar="TEXT", help="How the model should behave.")
@click.option("--model", metavar="NAME", help="Another model than the default.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Tokens of an answer.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    metavar="T",
    default=0.2,
    show_default=True,
    help="0: always the likeliest token; more: freer, and for a small model soon wild.",
)
@click.option("--seed", type=int, metavar="N", help="The same seed, the same answer.")
@node_options
@click.pass_obj
def chat(
    options: Options,
    /,
    prompt: tuple[str, ...],
    system: str | None,
    model: str | None,
    **asked: Any,
) -> int:
    """Ask the language model; without PROMPT, a conversation."""
    messages = [{"role": "system", "content": system}] if system else []
    with open_client(options, timeout_s=LONG_S, patience_s=PATIENCE_S) as node:
        talk = Talk(node, messages, {"model": model, **asked}, quiet=options.json)
        if not prompt and sys.stdin.isatty() and not options.json:
            return talk.converse()
        answer = talk.ask(_whole(prompt))
        if options.json:
            print_json({"answer": answer, **talk.figures})
    return 0


class Talk:
    """A conversation: what was said, and how fast."""

    def __init__(
        self, node: Client, messages: list[dict[str, str]], asked: dict[str, Any], *, quiet: bool
    ) -> None:
        self._node = node
        self._messages = messages
        self._asked = asked
        self._quiet = quiet
        self.figures: dict[str, Any] = {}

    def converse(self) -> int:
        """Ask until the input ends; Ctrl-C ends an answer, not the conversation."""
        while True:
            try:
                text = click.prompt(style("you", bold=True), prompt_suffix="> ")
            except click.Abort:
                say()
                return 0
            try:
                self.ask(text)
            except KeyboardInterrupt:
                say()
                note("Stopped.")
            except SkerryError as error:
                show_error(error)

    def ask(self, text: str) -> str:
        """Send a message, print the answer as it comes, keep both."""
        self._messages.append({"role": "user", "content": text})
        try:
            answer = self._answer()
        except BaseException:
            # What got no whole answer is not part of the conversation.
            self._messages.pop()
            raise
        self._messages.append({"role": "assistant", "content": answer})
        return answer

    def _answer(self) -> str:
        began = time.perf_counter()
        first_s, written = 0.0, ""
        with closing(self._node.texts.chat(self._messages, **self._asked)) as parts:
            for part in parts:
                if part.text:
                    first_s = first_s or time.perf_counter() - began
                    written += part.text
                    self._show(part.text)
                self._note(part.finish_reason, part.usage)
        self._show("\n")
        whole_s = time.perf_counter() - began
        self.figures |= {"first_token_ms": round(1e3 * first_s, 1), "ms": round(1e3 * whole_s, 1)}
        self._tell(whole_s)
        return written

    def _note(self, reason: str | None, usage: Any) -> None:
        if reason:
            self.figures["finish_reason"] = reason
        if usage:
            self.figures["prompt_tokens"] = usage.prompt_tokens
            self.figures["completion_tokens"] = usage.completion_tokens

    def _show(self, text: str) -> None:
        if not self._quiet:
            click.echo(text, nl=False)
            sys.stdout.flush()

    def _tell(self, whole_s: float) -> None:
        """How long it took, for people at a terminal; a cut answer is told to everybody."""
        if self.figures.get("finish_reason") == "length":
            note("The answer was cut at the most tokens it may have.")
        if not self._quiet and sys.stderr.isatty():
            tokens = self.figures.get("completion_tokens", 0)
            first = self.figures["first_token_ms"]
            note(f"{tokens} tokens, first after {first:.0f} ms, {tokens / whole_s:.0f} a second")


def _whole(prompt: tuple[str, ...]) -> str:
    """The prompt's words; `-`, or no words at all, is what stdin gives."""
    words = [sys.stdin.read() if word == "-" else word for word in prompt or ("-",)]
    text = "\n".join(words) if "-" in prompt else " ".join(words)
    if not text.strip():
        raise click.UsageError("There is nothing to ask.")
    return text

"""Send many things to a node side by side, where one's failure is not the others'."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skerry.errors import (
    Forbidden,
    NodeUnreachable,
    ServiceUnavailable,
    SkerryError,
    StorageFull,
    Unauthorized,
    Unprocessable,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

    from skerry.client import Client

Thing = TypeVar("Thing")
Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])

# With these no later file would fare better.
FATAL = (NodeUnreachable, Unauthorized, Forbidden, StorageFull, ServiceUnavailable)


def attempt(
    node: Client, send: Callable[[], Result], *, own: tuple[type[SkerryError], ...] = ()
) -> Result | SkerryError:
    """What `send` gives, or the error it met; raises those that would meet every other file too.

    `own` are errors that may be this file's alone, though others of their kind are everybody's.
    """
    try:
        return send()
    except own as error:
        return error
    except NodeUnreachable:
        # A node that hung up on this file alone still answers.
        node.status()
        return Unprocessable("The node closed the connection on this file.")
    except FATAL:
        raise
    except SkerryError as error:
        return error


def side_by_side(
    send: Callable[[Thing], Result], things: Iterable[Thing], *, jobs: int
) -> Generator[Result, None, None]:
    """Send by `jobs` threads, giving results as they come; closing it ends the rest."""
    # Here and below: imported when used, since --help must not pay for it.
    from concurrent.futures import ThreadPoolExecutor

    waiting = iter(things)
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="skerry-add")
    try:
        running = {pool.submit(send, thing) for thing in islice(waiting, 2 * jobs)}
        while running:
            finished, running = _wait_for_some(running)
            running |= {pool.submit(send, thing) for thing in islice(waiting, len(finished))}
            for future in finished:
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _wait_for_some(
    running: set[Future[Result]],
) -> tuple[set[Future[Result]], set[Future[Result]]]:
    from concurrent.futures import FIRST_COMPLETED, wait

    finished, still = wait(running, return_when=FIRST_COMPLETED)
    return finished, still


def jobs_option(function: Function) -> Function:
    """Give the command `--jobs`."""
    option = click.option(
        "--jobs",
        type=click.IntRange(1, 64),
        metavar="N",
        default=lambda: min(8, 2 * (os.cpu_count() or 1)),
        help="Files sent side by side.  [default: two a core, at most 8]",
    )
    return option(function)

"""`skerry keys`: who may call the node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from skerry.cli.http import is_here, open_client
from skerry.cli.options import Options, data_option, examples, node_options
from skerry.cli.output import moment, note, one_line, print_json, say, table
from skerry.cli.parameters import expiry
from skerry.errors import NodeUnreachable

if TYPE_CHECKING:
    from skerry.cli.node.keys_offline import OfflineKeys
    from skerry.client.answers import CreatedKey, Key
    from skerry.client.resources import Keys

T = TypeVar("T")

SCOPES = ("read", "infer", "write", "admin")


@click.group(
    epilog=examples(
        "skerry keys create --name me --scope admin",
        "skerry keys create --name till-3 --scope infer --expires 90d",
        "skerry keys list",
        "skerry keys revoke till-3",
    )
)
def keys() -> None:
    """Create, list and revoke API keys.

    Without a key the node serves its own machine only, and everyone on it. From the first key on,
    every request needs one.
    """


@keys.command()
@click.option("--name", required=True, metavar="NAME", help="Whose key it is; said in answers.")
@click.option(
    "--scope",
    required=True,
    type=click.Choice(SCOPES),
    help="What it allows; each includes those before it.",
)
@click.option("--expires", type=expiry, metavar="WHEN", help="A date, or a span: 12h, 30d.")
@data_option
@node_options
@click.pass_obj
def create(options: Options, name: str, scope: str, expires: int | None) -> None:
    """Create a key. Its secret is printed this once; the node keeps only its hash."""
    created = _call(options, lambda ring: ring.create(name, scope=scope, expires_at=expires))
    if options.json:
        print_json(created)
    else:
        _show_secret(created)


def _show_secret(created: CreatedKey) -> None:
    key = created.key
    until = f", until {moment(key.expires_at)}" if key.expires_at else ""
    note(f"Key '{one_line(key.name)}' ({key.scope}{until}). Its secret, shown this once:")
    say(created.secret)


@keys.command("list")
@data_option
@node_options
@click.pass_obj
def list_keys(options: Options) -> None:
    """List all keys, without their secrets."""
    listed = _call(options, lambda ring: ring.list())
    if options.json:
        print_json({"keys": listed})
    elif not listed:
        note("No keys: the node serves its own machine only.")
    else:
        columns = {
            "id": "left", "name": "left", "scope": "left", "state": "left",
            "created": "left", "last used": "left",
        }  # fmt: skip
        rows = [
            (k.id, k.name, k.scope, _state(k), moment(k.created_at), moment(k.last_used_at))
            for k in listed
        ]
        table(columns, rows)


def _state(key: Key) -> str:
    if key.revoked_at:
        return f"revoked {moment(key.revoked_at)}"
    if key.expires_at and key.expires_at <= time.time():
        return f"expired {moment(key.expires_at)}"
    return f"until {moment(key.expires_at)}" if key.expires_at else "live"


@keys.command()
@click.argument("reference", metavar="NAME|ID")
@data_option
@node_options
@click.pass_obj
def revoke(options: Options, reference: str) -> None:
    """End a key at once."""
    left = _call(options, lambda ring: _revoke(ring, reference))
    if options.json:
        print_json({"revoked": reference})
    else:
        say(f"Revoked '{one_line(reference)}'.")
    if not left:
        note("No key is left: the node is open to everyone on its machine, and to nobody beyond.")


def _revoke(ring: Keys | OfflineKeys, reference: str) -> list[Key]:
    """Revoke, and give the keys that still count."""
    ring.revoke(reference)
    return [key for key in ring.list() if not key.revoked_at]


def _call(options: Options, work: Callable[[Keys | OfflineKeys], T]) -> T:
    """Work on the node's keys; where this machine's node is not running, on its data folder."""
    try:
        with open_client(options) as node:
            return work(node.keys)
    except NodeUnreachable:
        if options.url or not is_here(options):
            raise
    from skerry.cli.node.keys_offline import OfflineKeys

    return work(OfflineKeys(options))

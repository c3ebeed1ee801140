"""Which Host and Origin a request may name: against DNS rebinding and cross-site writes."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from skerry.errors import BadRequest, Forbidden

LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:/@?#\\\s]+)(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class HostRules:
    """Names accepted in `Host`: exact ones, `*.example.com` for what lies below, `*` for all.

    `any_address` accepts every IP address: a page can rebind a name, never an address.
    """

    names: frozenset[str]
    any_address: bool


def host_rules(bind: str, allowed: Iterable[str] = ()) -> HostRules:
    """The rules of a node that listens on `bind`; `allowed` are the configured names."""
    names = {*LOOPBACK_NAMES, *(_plain(name) for name in allowed), _plain(bind)}
    if is_loopback(bind):
        return HostRules(frozenset(names), any_address=False)
    own = socket.gethostname().lower()
    return HostRules(frozenset({*names, own, f"{own}.local"}), any_address=True)


def is_loopback(bind: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    address = _address(_plain(bind))
    return address.is_loopback if address else _plain(bind) in LOOPBACK_NAMES


def check_host(header: str | None, rules: HostRules) -> None:
    """Refuse a request made to a name that is not ours; its port does not matter.

    Raises BadRequest for a Host that is missing or malformed, Forbidden for a foreign one.
    """
    match = _HOST.fullmatch(header or "")
    if not match:
        raise BadRequest("The Host header is missing or malformed.")
    name = _plain(match["name"])
    if name in rules.names or "*" in rules.names:
        return
    address = _address(name)
    if address is not None and (rules.any_address or address.is_loopback):
        return
    _, _, parent = name.partition(".")
    while parent:
        if f"*.{parent}" in rules.names:
            return
        _, _, parent = parent.partition(".")
    raise Forbidden(
        f"This node does not answer to the name '{name[:100]}'.",
        remedy=f"Add it to [node] allowed_hosts, or set SKERRY_NODE_ALLOWED_HOSTS={name[:100]}",
    )


def check_origin(origin: str | None, *, host: str, method: str) -> None:
    """Refuse a write that a browser makes for another site's page; Forbidden.

    Programs send no Origin and are not asked. A page of this node names the Host it came from.
    """
    if not origin or method in SAFE_METHODS:
        return
    if not _same_site(origin, host):
        raise Forbidden(
            f"A page of '{origin[:100]}' may not change this node.",
            remedy="Send a key in the Authorization header.",
        )


def _same_site(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
        default = DEFAULT_PORTS.get(parts.scheme)
        port = parts.port or default
    except ValueError:
        return False
    match = _HOST.fullmatch(host)
    if default is None or parts.hostname is None or not match:
        return False
    host_port = int(match["port"]) if match["port"] else default
    return (_plain(parts.hostname), port) == (_plain(match["name"]), host_port)


def _plain(name: str) -> str:
    return name.strip().strip("[]").rstrip(".").lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None

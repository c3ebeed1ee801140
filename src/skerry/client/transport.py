"""Send requests to one node, wait when it is busy, and turn its errors into `skerry.errors`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import msgspec

from skerry import errors
from skerry.client.answers import Failure
from skerry.errors import ConfigError, NodeUnreachable, SkerryError

# httpx imports its own command line where it can, and with it rich and pygments: a third of the
# time a short command takes. It does without where that module is not to be had.
COMMAND_LINE = "httpx._main"
if COMMAND_LINE not in sys.modules:
    sys.modules[COMMAND_LINE] = None  # type: ignore[assignment]
    import httpx

    del sys.modules[COMMAND_LINE]
else:
    import httpx

T = TypeVar("T")
KeySource = Callable[[], str | None]
Form = Mapping[str, str]
Part = tuple[str, tuple[str, bytes | BinaryIO]]
"""A file of a form: field, then name and content; a stream is rewound when it is sent again."""

ERROR_EVENT = '{"error"'

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class _ErrorAnswer(msgspec.Struct):
    error: Failure


class Transport:
    """HTTP to the node at `url`; `key` is asked before the first request and after a 401."""

    def __init__(self, url: str, *, key: KeySource, timeout_s: float, patience_s: float) -> None:
        self.url = normal_url(url)
        self.patience_s = patience_s
        self._http = httpx.Client(
            base_url=self.url,
            auth=_KeyAuth(key),
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            # A proxy named in the environment is never meant for this machine itself.
            trust_env=not is_loopback(self.url),
        )

    def get(self, path: str, *, type: type[T], query: Mapping[str, Any] | None = None) -> T:
        """Read `path` as `type`."""
        return self.decode(self.send("GET", path, query=query), type)

    def call(self, method: str, path: str, *, type: type[T], json: Any = None) -> T:
        """Send `json` and read the answer as `type`."""
        return self.decode(self.send(method, path, json=json), type)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        body: bytes | None = None,
        form: Form | None = None,
        files: list[Part] | None = None,
        timeout_s: float | None = None,
        results: str | None = None,
    ) -> httpx.Response:
        """One request, again while the node is busy and patience lasts; raises its error.

        An answer to many things of which all failed is no error, where `results` names the list
        that tells of each. `timeout_s` is how long the answer may take, if not as ever.
        """
        request = self._http.build_request(
            method,
            path,
            params=_present(query or {}),
            json=json,
            content=body,
            data=form,
            files=files,
            timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
        )
        return self._patiently(request, stream=False, results=results)

    def lines(self, method: str, path: str, *, json: Any) -> Generator[str]:
        """The lines of an answer as they come; closing the iterator closes the connection."""
        request = self._http.build_request(method, path, json=json)
        response = self._patiently(request, stream=True)
        with closing(response), self._as_unreachable():
            yield from response.iter_lines()

    def read_event(self, data: str, type: type[T]) -> T:
        """The JSON of one event as `type`; raises the error that an event tells of."""
        if data.startswith(ERROR_EVENT):
            raise as_error(msgspec.json.decode(data, type=_ErrorAnswer).error)
        return msgspec.json.decode(data, type=type)

    def decode(self, response: httpx.Response, type: type[T]) -> T:
        """The JSON body as `type`; NodeUnreachable when it is something else."""
        try:
            return msgspec.json.decode(response.content, type=type)
        except (msgspec.DecodeError, RecursionError) as error:
            raise NodeUnreachable(
                f"What answers at {self.url} does not speak as a Skerry node: {error}",
                remedy="Check the address, and that node and client have the same version.",
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _patiently(
        self, request: httpx.Request, *, stream: bool, results: str | None = None
    ) -> httpx.Response:
        until = time.monotonic() + self.patience_s
        while True:
            with self._as_unreachable():
                response = self._http.send(request, stream=stream)
                if response.is_success:
                    return response
                response.read()
            if results and response.content.startswith(f'{{"{results}":'.encode()):
                return response
            error = read_error(response, url=self.url)
            wait_s = error.retry_after_s
            if wait_s is None or time.monotonic() + wait_s > until:
                raise error
            time.sleep(wait_s)

    @contextmanager
    def _as_unreachable(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise NodeUnreachable(f"No node answers at {self.url}.") from error
        except httpx.TimeoutException as error:
            waited_s = error.request.extensions["timeout"]["read"]
            raise NodeUnreachable(
                f"The node at {self.url} did not answer within {waited_s:g} s.",
                remedy="See what it does with 'skerry status', or in its log.",
            ) from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise NodeUnreachable(
                f"The connection to {self.url} was lost: {reason}.",
                remedy="Run the command again; if the node has ended, 'skerry up' starts it.",
            ) from error


class _KeyAuth(httpx.Auth):
    """Sends the key; one that is refused is asked for anew, since a restarted node has another."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._key = source()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self._attach(request)
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            sent, self._key = self._key, self._source()
            if self._key and self._key != sent:
                self._attach(request)
                yield request

    def _attach(self, request: httpx.Request) -> None:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"


def given_key(secret: str | None) -> KeySource:
    """A source that always gives `secret`; ConfigError when no header can carry it."""
    if secret is not None and not (secret.isascii() and secret.isprintable()):
        raise ConfigError(
            "The API key holds characters that no key has.",
            remedy="Copy the secret that 'skerry keys create' printed, without quotes.",
        )
    return lambda: secret


def normal_url(url: str) -> str:
    """`url` with a scheme and without a trailing slash; ConfigError when it names no host."""
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        valid = (
            parts.scheme in {"http", "https"}
            and bool((parts.hostname or "").strip())
            and parts.port != 0
        )
        httpx.URL(full)
    except (ValueError, httpx.InvalidURL):
        valid = False
    if not valid:
        raise ConfigError(
            f"'{url}' is not the URL of a node.", remedy="Write it as http://127.0.0.1:8642."
        )
    return full.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine."""
    return urlsplit(url).hostname in LOOPBACK


def read_error(response: httpx.Response, *, url: str) -> SkerryError:
    """The node's error as the class its code names."""
    try:
        failure = msgspec.json.decode(response.content, type=_ErrorAnswer).error
    except msgspec.DecodeError:
        return NodeUnreachable(
            f"What answers at {url} is not a Skerry node (HTTP {response.status_code}).",
            remedy="Check --url, or the proxy in front of the node.",
        )
    return as_error(failure, retry_after_s=_retry_after_s(response))


def as_error(failure: Failure, *, retry_after_s: float | None = None) -> SkerryError:
    """`failure` as the exception its code names."""
    kind = next((k for k in _subclasses(SkerryError) if k.code == failure.code), SkerryError)
    # Some kinds are made with what no answer tells apart from its message: a field, a size.
    error = kind.__new__(kind)
    SkerryError.__init__(error, failure.message, remedy=failure.remedy, retry_after_s=retry_after_s)
    # A newer node may know codes that this client does not; callers still see which.
    error.code = failure.code
    return error


def _subclasses(kind: type[SkerryError]) -> Iterator[type[SkerryError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _subclasses(child)


def _retry_after_s(response: httpx.Response) -> float | None:
    try:
        return max(0.05, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _present(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}

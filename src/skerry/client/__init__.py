"""`skerry.connect`: a small synchronous client of a node's native API."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import Any

from skerry.client import answers
from skerry.client.asking import AnswerPart, Asking, AskMode, DocumentsAnswer, ask_body
from skerry.client.documents import Documents, Mode, Results
from skerry.client.resources import Images, Index, Jobs, Keys, Models, Picture, read_picture
from skerry.client.texts import Texts
from skerry.client.transport import KeySource, Transport, given_key

__all__ = ["DEFAULT_URL", "Client", "Picture", "answers", "connect"]

DEFAULT_URL = "http://127.0.0.1:8642"


class Client:
    """A node at one URL; safe to share between threads, closed by `close` or `with`.

    Every call raises the errors of `skerry.errors`: what the node answered, NodeUnreachable when
    nothing answers, and Overloaded once `patience_s` has passed.
    """

    def __init__(self, transport: Transport) -> None:
        self.url = transport.url
        self._transport = transport
        self.images = Images(transport)
        self.models = Models(transport)
        self.keys = Keys(transport)
        self.jobs = Jobs(transport)
        self.index = Index(transport)
        self.texts = Texts(transport)
        self.documents = Documents(transport)
        self._asking = Asking(transport)

    def recognize(
        self,
        image: Picture,
        *,
        limit: int = 10,
        labels: int = 5,
        features: bool = True,
        model: str | None = None,
    ) -> answers.Recognition:
        """What `image` (a path or the bytes) shows, and which stored images are most like it.

        `limit` bounds the similar images, `labels` the labels; without `features` the answer's
        feature vector is empty. Nothing is stored.
        """
        query = {"limit": limit, "labels": labels, "features": features, "model": model}
        response = self._transport.send(
            "POST", "/api/recognize", query=query, body=read_picture(image)
        )
        recognition = self._transport.decode(response, answers.Recognition)
        recognition.stages = answers.parse_server_timing(response.headers.get("server-timing", ""))
        return recognition

    def search(
        self,
        query: str,
        *,
        mode: Mode = "hybrid",
        limit: int = 10,
        offset: int = 0,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        group: bool = False,
        facets: Sequence[str] = ("category",),
    ) -> Results:
        """The chunks of stored documents that fit `query` best, by meaning, by words or by both.

        `filter` is the short form `{"category": …, "timestamp": {"gte": …}, "metadata": {…}}` or
        Qdrant's. `threshold` drops what scores less; `group` keeps the best chunk of a document.
        """
        body = {
            "query": query, "mode": mode, "limit": limit, "offset": offset, "filter": filter,
            "threshold": threshold, "group": group, "facets": list(facets),
        }  # fmt: skip
        given = {name: value for name, value in body.items() if value is not None}
        return self._transport.call("POST", "/api/search", type=Results, json=given)

    def ask(
        self,
        question: str,
        *,
        mode: AskMode = "auto",
        limit: int = 5,
        filter: Mapping[str, Any] | None = None,
        explain: bool = False,
    ) -> DocumentsAnswer:
        """The answer of the stored documents, or the reason why they have none.

        Quotes (`extract`), or what the language model makes of the `limit` best passages
        (`generate`); `auto` leaves it to the model's card. `explain` tells how it came to be.
        """
        return self._asking.ask(
            ask_body(question, mode=mode, limit=limit, filter=filter, explain=explain)
        )

    def ask_streamed(
        self,
        question: str,
        *,
        mode: AskMode = "auto",
        limit: int = 5,
        filter: Mapping[str, Any] | None = None,
        explain: bool = False,
    ) -> Generator[AnswerPart]:
        """The same as it is written, at last the whole answer."""
        yield from self._asking.stream(
            ask_body(question, mode=mode, limit=limit, filter=filter, explain=explain)
        )

    def status(self) -> answers.Status:
        """What runs on the node, and how well."""
        return self._transport.get("/api/status", type=answers.Status)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(
    url: str | None = None,
    *,
    key: str | KeySource | None = None,
    timeout_s: float = 60.0,
    patience_s: float = 30.0,
) -> Client:
    """A client of the node at `url`, else `SKERRY_URL`, else http://127.0.0.1:8642.

    `key` (else `SKERRY_KEY`) is sent with every request; a callable is asked again when the node
    refuses the key it gave. A request waits `timeout_s` for its answer; when the node is busy and
    names a `Retry-After`, it is sent again until `patience_s` have passed.
    """
    address = url or os.environ.get("SKERRY_URL") or DEFAULT_URL
    secret = key or os.environ.get("SKERRY_KEY") or None
    source = given_key(secret) if secret is None or isinstance(secret, str) else secret
    return Client(Transport(address, key=source, timeout_s=timeout_s, patience_s=patience_s))

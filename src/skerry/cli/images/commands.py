"""`skerry images`: list, show, search, tag and remove what is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skerry.cli.http import open_client
from skerry.cli.lazy import Lazy, LazyGroup
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import count, moment, note, one_line, print_json, say, size, style, table
from skerry.cli.output import tags_text as tags_as_text
from skerry.cli.parameters import instant, is_image_id, tag, tag_name
from skerry.errors import NotFound, SkerryError

if TYPE_CHECKING:
    from skerry.client import Client
    from skerry.client.answers import Image, ImagePage, SimilarImage

Function = TypeVar("Function", bound=Callable[..., Any])
PAGE = 1000


LAZY = {
    "add": Lazy("skerry.cli.images.add:add", "Store image files and the images in folders."),
    "watch": Lazy("skerry.cli.images.watch:watch", "Store what is in a folder and what comes."),
}


@click.group(
    cls=LazyGroup,
    lazy=LAZY,
    epilog=examples(
        "skerry images add ~/Pictures",
        "skerry images list --tag shelf=3",
        "skerry images search photo.jpg",
        "skerry images watch inbox/ --tag-by-folder shelf",
    ),
)
def images() -> None:
    """Add, list, search, tag, remove and watch images."""


def filter_options(function: Function) -> Function:
    """Give the command the filters that listing and searching share."""
    by = click.option("--uploaded-by", metavar="WHO", help="Only those added by WHO.")
    tags = click.option(
        "--tag", "tags", type=tag, multiple=True, metavar="NAME=VALUE", help="Only those so tagged."
    )
    return by(tags(function))


@images.command(
    "list",
    epilog=examples(
        "skerry images list --limit 20",
        "skerry images list --label tabby --uploaded-by ann",
        "skerry images list --all --json",
    ),
)
@filter_options
@click.option("--label", metavar="TEXT", help="Only those the model gave this label.")
@click.option("--after", type=instant, metavar="TIME", help="Stored then or later.")
@click.option("--before", type=instant, metavar="TIME", help="Stored before.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    default=50,
    show_default=True,
    help="At most so many.",
)
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@node_options
@click.pass_obj
def list_images(
    options: Options,
    uploaded_by: str | None,
    tags: tuple[tuple[str, str], ...],
    label: str | None,
    after: int | None,
    before: int | None,
    limit: int,
    everything: bool,
) -> None:
    """List stored images, newest first.

    A TIME is a date, a date with a clock time, or Unix seconds: 2026-01-31, '2026-01-31 08:00'.
    """
    filters = {
        "uploaded_by": uploaded_by,
        "label": label,
        "created_after": after,
        "created_before": before,
        "tags": dict(tags),
    }
    with open_client(options) as node:
        page = _collect(node, None if everything else limit, filters)
    if options.json:
        print_json(page)
    elif not page.images:
        note("No images match." if any(filters.values()) else "No images are stored yet.")
    else:
        _image_table(page)


def _collect(node: Client, limit: int | None, filters: dict[str, Any]) -> ImagePage:
    page = node.images.list(limit=PAGE if limit is None else min(limit, PAGE), **filters)
    while page.next and (limit is None or len(page.images) < limit):
        wanted = PAGE if limit is None else min(PAGE, limit - len(page.images))
        following = node.images.list(limit=wanted, cursor=page.next, **filters)
        page.images += following.images
        page.next = following.next
    return page


def _image_table(page: ImagePage) -> None:
    columns = {
        "id": "right", "file": "left", "shows": "left", "tags": "left",
        "by": "left", "stored": "left", "pixels": "right", "size": "right",
    }  # fmt: skip
    rows = [
        (
            image.id,
            image.filename,
            image.labels[0].label if image.labels else "",
            tags_as_text(image.tags),
            image.uploaded_by,
            moment(image.created_at),
            f"{image.width}x{image.height}",
            size(image.bytes),
        )
        for image in page.images
    ]
    total = "more" if page.total is None else f"{page.total:,}"
    more = f"{len(rows):,} of {total}; --limit or --all shows the others." if page.next else ""
    table(columns, rows, footer=more)


@images.command(epilog=examples("skerry images show 7", "skerry images show 7 --save cat.jpg"))
@click.argument("image_id", metavar="ID")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the original bytes to FILE.",
)
@node_options
@click.pass_obj
def show(options: Options, image_id: str, save: Path | None) -> None:
    """Show all that is stored about one image (by id or sha256)."""
    with open_client(options) as node:
        image = node.images.get(_checked(image_id))
        if save is not None:
            _save(save, node.images.file(image.id))
    if options.json:
        print_json(image)
    else:
        _show(image)


def _save(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise SkerryError(f"Cannot write {path}: {error.strerror}.") from error


def _show(image: Image) -> None:
    facts = {
        "id": image.id,
        "file": image.filename,
        "type": f"{image.media_type}, {image.width}x{image.height}, {size(image.bytes)}",
        "stored": f"{moment(image.created_at)} by {image.uploaded_by or 'nobody named'}",
        "tags": tags_as_text(image.tags) or "none",
        "sha256": image.sha256,
    }
    for name, value in facts.items():
        say(f"{style(f'{name:8}', bold=True)} {one_line(value)}")
    for label in image.labels:
        say(f"{'':8} {label.probability:6.1%}  {one_line(label.label)}")


@images.command(
    epilog=examples("skerry images search photo.jpg", "skerry images search 7 --tag shelf=3")
)
@click.argument("image", metavar="FILE|ID")
@filter_options
@click.option(
    "--limit",
    type=click.IntRange(1, 100),
    metavar="N",
    default=10,
    show_default=True,
    help="At most so many.",
)
@node_options
@click.pass_obj
def search(
    options: Options,
    image: str,
    uploaded_by: str | None,
    tags: tuple[tuple[str, str], ...],
    limit: int,
) -> None:
    """Find the stored images most like a file, or like a stored one.

    A bare number or a sha256 is a stored image; write ./7 for a file of that name.
    """
    wanted = {"uploaded_by": uploaded_by, "tags": dict(tags)}
    chosen = {name: value for name, value in wanted.items() if value}
    with open_client(options) as node:
        query = node.images.get(image).id if is_image_id(image) else _file(image)
        found = node.images.search(query, limit=limit, filter=chosen)
    if options.json:
        print_json(found)
    elif not found.similar_images:
        note("Nothing stored is like it.")
    else:
        similar_table(found.similar_images)


def similar_table(similar: list[SimilarImage]) -> None:
    """Print stored images with their similarity."""
    columns = {
        "similarity": "right", "id": "right", "file": "left", "by": "left", "stored": "left",
    }  # fmt: skip
    rows = [
        (
            f"{image.similarity_score:.3f}",
            image.id,
            image.filename,
            image.uploaded_by,
            moment(image.created_at),
        )
        for image in similar
    ]
    table(columns, rows)


@images.command(
    "tag",
    epilog=examples("skerry images tag 7 shelf=3", "skerry images tag 7 8 9 --remove shelf"),
)
@click.argument("words", nargs=-1, required=True, metavar="ID... [NAME=VALUE...]")
@click.option("--remove", type=tag_name, multiple=True, metavar="NAME", help="Drop this tag.")
@node_options
@click.pass_obj
def tag_images(options: Options, words: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Set or drop tags; the image's other tags stay."""
    ids = [_checked(word) for word in words if "=" not in word]
    tags = dict(tag(word) for word in words if "=" in word)
    if not ids:
        raise click.UsageError("Name the image: its id or sha256.")
    if not tags and not remove:
        raise click.UsageError("Name a tag to set (NAME=VALUE) or to drop (--remove NAME).")
    with open_client(options) as node:
        changed = [node.images.tag(image_id, tags, remove=remove) for image_id in ids]
    if options.json:
        print_json({"images": changed})
        return
    for image in changed:
        say(f"{image.id} {one_line(image.filename)}: {one_line(tags_as_text(image.tags))}")


@images.command(epilog=examples("skerry images remove 7", "skerry images remove 7 8 9"))
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@node_options
@click.pass_obj
def remove(options: Options, ids: tuple[str, ...]) -> int:
    """Remove images: file, row and vector. Exit code 1 when one was not there."""
    checked = [_checked(image_id) for image_id in ids]
    absent = []
    with open_client(options) as node:
        for image_id in checked:
            try:
                node.images.delete(image_id)
            except NotFound:
                absent.append(image_id)
    removed = [image_id for image_id in checked if image_id not in absent]
    if options.json:
        print_json({"removed": removed, "not_found": absent})
    else:
        say(f"Removed {count(len(removed), 'image')}.")
    if absent and not options.json:
        note(f"Not stored: {', '.join(absent)}.")
    return 1 if absent else 0


def _checked(image_id: str) -> str:
    if not is_image_id(image_id):
        raise click.UsageError(f"'{image_id}' is neither an id nor a sha256 of an image.")
    return image_id


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise NotFound(f"There is no file '{text}'.", remedy="Name an image file, or a stored id.")
    return path

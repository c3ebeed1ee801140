from __future__ import annotations

import os
from pathlib import Path

import pytest
from client.scripted import Reply, Request, refusal, serving

import skerry
from skerry.cli.folders import Candidate
from skerry.cli.images.ingest import Ingest, Marks, gather_images, looks_like_image
from skerry.cli.watching import Arrivals, Gone
from skerry.errors import NodeUnreachable, NotFound, StorageFull

JPEG = b"\xff\xd8\xff\xe0 and more"


def _write(path: Path, content: bytes = JPEG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_folders_are_read_in_order_and_what_is_no_image_is_set_aside(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.PNG", "a.webp", "b/.hidden.jpg", ".git/x.jpg", "named-by-nothing"):
        _write(tmp_path / name)
    notes = _write(tmp_path / "notes.txt", b"words")
    unfinished = _write(tmp_path / "b/3.jpg.part")
    found = gather_images([tmp_path])
    names = [str(c.path.relative_to(tmp_path)) for c in found.candidates]
    assert names == ["a.webp", "named-by-nothing", "b/1.PNG", "b/2.jpg"]
    assert found.ignored == [notes, unfinished]


def test_sub_folders_can_be_left_out(tmp_path: Path) -> None:
    _write(tmp_path / "top.jpg")
    _write(tmp_path / "below/b.jpg")
    assert [c.path.name for c in gather_images([tmp_path], recursive=False).candidates] == [
        "top.jpg"
    ]


def test_a_file_that_is_named_is_sent_whatever_it_looks_like(tmp_path: Path) -> None:
    notes = _write(tmp_path / "notes.txt", b"words")
    assert [c.path for c in gather_images([notes]).candidates] == [notes]


def test_a_path_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        gather_images([tmp_path / "nowhere"])


def test_a_link_back_to_its_own_folder_does_not_loop(tmp_path: Path) -> None:
    _write(tmp_path / "a/a.jpg")
    (tmp_path / "a/again").symlink_to(tmp_path)
    assert len(gather_images([tmp_path]).candidates) == 1


def test_the_first_bytes_tell_an_image_without_a_name(tmp_path: Path) -> None:
    assert looks_like_image(_write(tmp_path / "x", b"RIFF\0\0\0\0WEBP"))
    assert not looks_like_image(_write(tmp_path / "y", b"RIFF\0\0\0\0WAVE"))
    assert not looks_like_image(tmp_path / "absent")


def test_the_sub_folder_becomes_the_tag_it_was_asked_for(tmp_path: Path) -> None:
    _write(tmp_path / "top.jpg")
    _write(tmp_path / "shelf-3/left/a.jpg")
    marks = Marks(tags={"shop": "7"}, folder_tag="shelf")
    top, below = gather_images([tmp_path]).candidates
    assert marks.tags_of(top) == {"shop": "7"}
    assert marks.tags_of(below) == {"shop": "7", "shelf": "shelf-3/left"}


def _node(**replies: Reply) -> object:
    def script(request: Request) -> Reply:
        if request.method == "GET" and request.path.startswith("/api/images/"):
            return replies["find"]
        if request.method == "POST":
            return replies["post"]
        return Reply(200, {"version": "0.1.0", "ready": True})

    return script


STORED = Reply(201, {"images": [{"status": "created", "id": 5, "sha256": "00"}]})
ABSENT = refusal(404, "image_not_found", "no")


def test_what_is_stored_is_not_sent_again(tmp_path: Path) -> None:
    known = Reply(
        200,
        {
            "id": 3, "sha256": "00", "filename": "a", "media_type": "image/jpeg", "width": 1,
            "height": 1, "bytes": 1, "created_at": 1,
        },
    )  # fmt: skip
    picture = Candidate(_write(tmp_path / "a.jpg"))
    with serving(_node(find=known, post=STORED)) as node, skerry.connect(node.url) as client:  # type: ignore[arg-type]
        outcome = Ingest(client, Marks(), ask_first=True).store(picture)
        assert (outcome.status, outcome.id) == ("exists", 3)
        assert [request.method for request in node.requests] == ["GET"]
        assert Ingest(client, Marks(), ask_first=False).store(picture).status == "created"


def test_one_files_refusal_does_not_end_the_others(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        bad = b"broken" in request.body
        return refusal(400, "image_unreadable", "cut short") if bad else STORED

    files = [
        Candidate(_write(tmp_path / f"{i}.jpg", JPEG + b"broken" * (i == 2))) for i in range(9)
    ]
    gone = Candidate(tmp_path / "gone.jpg")
    with serving(script) as node, skerry.connect(node.url) as client:
        ingest = Ingest(client, Marks(), ask_first=False)
        outcomes = list(ingest.store_all([*files, gone], jobs=3))
    failed = {o.path.name: str(o.error) for o in outcomes if o.error}
    assert len(outcomes) == 10
    assert failed.keys() == {"2.jpg", "gone.jpg"}
    assert failed["2.jpg"] == "cut short"


@pytest.mark.parametrize(("reply", "error"), [(refusal(507, "storage_full", "full"), StorageFull)])
def test_what_would_meet_every_file_ends_the_run(
    tmp_path: Path, reply: Reply, error: type[Exception]
) -> None:
    files = [Candidate(_write(tmp_path / f"{i}.jpg")) for i in range(50)]
    with serving(lambda _: reply) as node, skerry.connect(node.url) as client:
        ingest = Ingest(client, Marks(), ask_first=False)
        with pytest.raises(error):
            list(ingest.store_all(files, jobs=2))
        assert len(node.requests) < 50


def test_a_node_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    with skerry.connect("http://127.0.0.1:9") as client, pytest.raises(NodeUnreachable):
        Ingest(client, Marks(), ask_first=False).store(Candidate(_write(tmp_path / "a.jpg")))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _after(arrivals: Arrivals, clock: Clock, seconds: float) -> list[str]:
    clock.now += seconds
    return [candidate.path.name for candidate in arrivals.complete()]


def test_a_file_is_given_once_it_has_stopped_growing(tmp_path: Path) -> None:
    clock = Clock()
    arrivals = Arrivals(tmp_path, looks_like_image, settle_s=1.0, now=clock)
    picture = _write(tmp_path / "a.jpg")
    arrivals.see([picture])
    assert _after(arrivals, clock, 0.0) == []
    assert _after(arrivals, clock, 0.9) == []
    with picture.open("ab") as file:
        file.write(b"more")
    assert _after(arrivals, clock, 0.9) == []
    assert _after(arrivals, clock, 0.9) == []
    assert _after(arrivals, clock, 0.2) == ["a.jpg"]
    arrivals.see([picture])
    assert _after(arrivals, clock, 9.0) == []


def test_a_file_that_is_written_anew_is_given_again(tmp_path: Path) -> None:
    clock = Clock()
    arrivals = Arrivals(tmp_path, looks_like_image, settle_s=0.0, now=clock)
    picture = _write(tmp_path / "a.jpg")
    arrivals.see([picture])
    assert _after(arrivals, clock, 0.1) + _after(arrivals, clock, 0.1) == ["a.jpg"]
    _write(picture, JPEG + b"!")
    os.utime(picture, ns=(1, 1))
    arrivals.see([picture])
    assert _after(arrivals, clock, 0.1) + _after(arrivals, clock, 0.1) == ["a.jpg"]


def test_gone_hidden_and_unfinished_files_are_not_given(tmp_path: Path) -> None:
    clock = Clock()
    arrivals = Arrivals(tmp_path, looks_like_image, settle_s=0.0, now=clock)
    gone = _write(tmp_path / "gone.jpg")
    names = [".hidden.jpg", "x.jpg.part", "notes.txt"]
    arrivals.see([gone, *(_write(tmp_path / name, b"words") for name in names)])
    gone.unlink()
    assert _after(arrivals, clock, 1.0) + _after(arrivals, clock, 1.0) == []


def _gone(arrivals: Arrivals, clock: Clock, seconds: float) -> list[str]:
    clock.now += seconds
    return [change.path.name for change in arrivals.changes() if isinstance(change, Gone)]


def test_a_file_that_stays_away_is_gone_and_one_that_is_saved_anew_is_not(tmp_path: Path) -> None:
    clock = Clock()
    arrivals = Arrivals(tmp_path, looks_like_image, settle_s=1.0, now=clock)
    picture, other = _write(tmp_path / "a.jpg"), _write(tmp_path / "b.jpg")
    arrivals.look()
    assert _after(arrivals, clock, 0.0) + _after(arrivals, clock, 1.0) == ["a.jpg", "b.jpg"]
    picture.unlink()
    other.unlink()
    arrivals.see([picture, other])
    assert _gone(arrivals, clock, 0.9) == []
    # Editors put a new file in the place of the old one.
    _write(other)
    os.utime(other, ns=(1, 1))
    assert _gone(arrivals, clock, 0.2) == ["a.jpg"]
    assert _after(arrivals, clock, 1.0) == ["b.jpg"]
    assert _gone(arrivals, clock, 9.0) == []


def test_a_folder_that_is_moved_away_takes_its_files_along(tmp_path: Path) -> None:
    clock = Clock()
    arrivals = Arrivals(tmp_path, looks_like_image, settle_s=0.0, now=clock)
    _write(tmp_path / "old/deep/a.jpg")
    _write(tmp_path / "b.jpg")
    arrivals.look()
    assert _after(arrivals, clock, 0.0) + _after(arrivals, clock, 0.1) == ["b.jpg", "a.jpg"]
    (tmp_path / "old").rename(tmp_path.parent / "elsewhere")
    arrivals.see([tmp_path / "old"])
    assert _gone(arrivals, clock, 0.1) == ["a.jpg"]


def test_a_look_finds_what_no_event_told_of(tmp_path: Path) -> None:
    clock = Clock()
    arrivals = Arrivals(tmp_path, looks_like_image, settle_s=0.0, now=clock)
    picture = _write(tmp_path / "a.jpg")
    arrivals.look()
    assert _after(arrivals, clock, 0.0) + _after(arrivals, clock, 0.1) == ["a.jpg"]
    picture.unlink()
    arrivals.look()
    assert _gone(arrivals, clock, 0.1) == ["a.jpg"]


def test_a_folder_that_is_moved_in_brings_all_its_files(tmp_path: Path) -> None:
    clock = Clock()
    arrivals = Arrivals(tmp_path, looks_like_image, settle_s=0.0, now=clock)
    _write(tmp_path / "new/deep/a.jpg")
    arrivals.see([tmp_path / "new"])
    arrivals.complete()
    assert [(c.path.name, c.folder) for c in arrivals.complete()] == [("a.jpg", "new/deep")]

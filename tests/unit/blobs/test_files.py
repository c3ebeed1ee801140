import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from skerry.blobs.files import FileBlobs
from skerry.errors import StorageFull, StoreUnavailable

DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "data" / "blobs")


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def age(path: Path) -> None:
    os.utime(path, (1, 1))


def test_what_was_put_lies_under_its_path(blobs):
    blobs.put(DIGEST, DATA)
    path = blobs.path(DIGEST)
    assert path is not None and path.read_bytes() == DATA
    assert list(blobs.all()) == [DIGEST]


def test_put_again_is_a_no_op_and_leaves_one_file(blobs):
    blobs.put(DIGEST, DATA)
    inode = blobs.path(DIGEST).stat().st_ino
    blobs.put(DIGEST, DATA)
    assert blobs.path(DIGEST).stat().st_ino == inode
    assert len(files_under(blobs.folder)) == 1


def test_empty_blob_is_a_blob(blobs):
    digest = hashlib.sha256(b"").hexdigest()
    blobs.put(digest, b"")
    assert blobs.path(digest).read_bytes() == b""


def test_delete_says_whether_it_was_there(blobs):
    blobs.put(DIGEST, DATA)
    assert blobs.delete(DIGEST) is True
    assert blobs.delete(DIGEST) is False
    assert blobs.path(DIGEST) is None
    assert list(blobs.all()) == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_name_that_is_no_sha256_reaches_no_file(blobs, name):
    assert blobs.path(name) is None
    with pytest.raises(ValueError):
        blobs.put(name, b"")
    with pytest.raises(ValueError):
        blobs.delete(name)


def test_blobs_survive_opening_again(blobs):
    blobs.put(DIGEST, DATA)
    assert FileBlobs(blobs.folder).path(DIGEST).read_bytes() == DATA


def test_many_threads_putting_the_same_bytes_leave_one_whole_file(blobs):
    data = os.urandom(1 << 20)
    digest = hashlib.sha256(data).hexdigest()
    threads = [threading.Thread(target=blobs.put, args=(digest, data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blobs.path(digest).read_bytes() == data
    assert len(files_under(blobs.folder)) == 1


# ---- failures


def test_full_disk_is_storage_full_and_leaves_nothing(tmp_path):
    """On a real file system of 1 MB."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mount.returncode:
        pytest.skip("may not mount a small file system here: needs root")
    try:
        blobs = FileBlobs(tmp_path / "blobs")
        with pytest.raises(StorageFull):
            blobs.put(DIGEST, os.urandom(2 << 20))
        assert files_under(blobs.folder) == []
        blobs.put(DIGEST, DATA)  # there is room for this one
        assert blobs.path(DIGEST).read_bytes() == DATA
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_sync_that_fails_stores_nothing(blobs, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFull):
        blobs.put(DIGEST, DATA)
    monkeypatch.undo()
    assert files_under(blobs.folder) == []
    blobs.put(DIGEST, DATA)
    assert blobs.path(DIGEST) is not None


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file/blobs"):
        FileBlobs(tmp_path / "file" / "blobs")


# ---- durability: the order of system calls


def test_file_and_every_new_folder_are_synced_before_put_returns(tmp_path):
    code = (
        "import sys; from pathlib import Path; from skerry.blobs.files import FileBlobs\n"
        f"blobs = FileBlobs(Path({str(tmp_path)!r}) / 'blobs')\n"
        f"blobs.put({DIGEST!r}, {DATA!r}); print('acknowledged', flush=True)"
    )
    try:
        traced = subprocess.run(
            ["strace", "-f", "-y", "-e", "trace=fsync,rename,renameat,renameat2,write",
             sys.executable, "-c", code],
            capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if traced.returncode:
        pytest.skip(f"strace may not trace here: {traced.stderr[-200:]}")
    calls = traced.stderr
    order = [
        f"{tmp_path}/blobs/incoming/{DIGEST}",  # the bytes
        "rename",
        f"<{tmp_path}/blobs/{DIGEST[:2]}>",  # the file's name in its folder
        "acknowledged",
    ]
    positions = [calls.find("fsync(", 0)]
    for text in order:
        positions.append(calls.find(text, positions[-1] + 1))
        assert positions[-1] > 0, f"{text} not in order in:\n{calls}"
    before = calls[: calls.find("acknowledged")]
    for folder in (f"{tmp_path}/blobs", f"{tmp_path}"):  # the names of the folders
        assert f"<{folder}>)" in before


# ---- sweep


def test_sweep_removes_unfinished_files_and_orphans_of_a_former_run(blobs):
    orphan = hashlib.sha256(b"orphan").hexdigest()
    blobs.put(DIGEST, DATA)
    blobs.put(orphan, b"orphan")
    unfinished = blobs.folder / "incoming" / f"{DIGEST}.1"
    unfinished.write_bytes(b"som")
    for path in files_under(blobs.folder):
        age(path)
    assert FileBlobs(blobs.folder).sweep(lambda digest: digest == DIGEST) == 2
    assert files_under(blobs.folder) == [blobs.path(DIGEST)]


def test_sweep_leaves_what_was_put_since_the_start(blobs):
    """An upload's blob stands before its row; so does one that found old bytes there."""
    blobs.put(DIGEST, DATA)
    age(blobs.path(DIGEST))
    reopened = FileBlobs(blobs.folder)
    reopened.put(DIGEST, DATA)
    fresh = hashlib.sha256(b"fresh").hexdigest()
    reopened.put(fresh, b"fresh")
    assert reopened.sweep(lambda digest: False) == 0
    assert sorted(reopened.all()) == sorted([DIGEST, fresh])

import os
import stat

import pytest

from skerry.auth.local import read_local_key, remove_local_key, write_local_key
from skerry.errors import StoreUnavailable


def test_local_key_is_readable_by_its_owner_only(tmp_path):
    old = os.umask(0)
    try:
        secret = write_local_key(tmp_path)
    finally:
        os.umask(old)
    path = tmp_path / "local.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_local_key(tmp_path) == secret
    assert list(tmp_path.iterdir()) == [path]


def test_each_start_has_a_new_secret(tmp_path):
    assert write_local_key(tmp_path) != write_local_key(tmp_path)


def test_end_of_a_run_removes_its_own_key_only(tmp_path):
    first = write_local_key(tmp_path)
    second = write_local_key(tmp_path)
    remove_local_key(tmp_path, first)
    assert read_local_key(tmp_path) == second
    remove_local_key(tmp_path, second)
    assert read_local_key(tmp_path) is None


def test_link_laid_under_the_name_is_replaced_not_followed(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "local.key").symlink_to(tmp_path / "victim")
    write_local_key(tmp_path)
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "local.key").is_symlink()


def test_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(StoreUnavailable, match="nowhere"):
        write_local_key(tmp_path / "nowhere")
    assert read_local_key(tmp_path / "nowhere") is None

"""Nobody else can write to a cache folder, and no folder of others' is taken or shut for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployments.cache_folder import writable_folder
from pressrun.errors import InvalidJob
from tests.workers.cache.stored_models import model, store_model
from workers.cache.chunk_store import ChunkStore


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give an empty folder where everybody may write."""
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_a_folder_that_is_there_already_becomes_this_users_alone(root: Path) -> None:
    store = ChunkStore(root)
    assert mode(root) == 0o700
    store_model(store, model(0), "one")
    root.chmod(0o755)
    assert ChunkStore(root).status().revisions
    assert mode(root) == 0o700


def test_a_folder_where_others_write_and_have_things_is_refused_and_left_as_it_is(root: Path) -> None:
    (root / "theirs").touch()
    with pytest.raises(InvalidJob, match=r"its mode is 777, .* holds other things than models; name an empty folder"):
        writable_folder(root)
    assert mode(root) == 0o777
    root.chmod(0o755)
    assert writable_folder(root) == root
    assert mode(root) == 0o755  # others may still read what is theirs


def test_another_users_folder_is_refused_with_both_users(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(PermissionError, match=f"belongs to user {me}, but this is user {me + 1}; name a folder of"):
        ChunkStore(root)
    assert mode(root) == 0o777

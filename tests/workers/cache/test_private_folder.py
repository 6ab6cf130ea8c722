"""Nobody else can write to a cache folder, and no folder of others' is taken or shut for one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deployments.cache_folder import writable_folder
from pressrun.errors import InvalidJob
from tests.workers.cache.stored_models import model, store_model
from workers.cache.chunk_store import ChunkStore

REVISION = "0123456789abcdef" * 2
IS_ROOT = os.geteuid() == 0
NOBODY = 65534


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def everything(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir())


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
    store_model(store, model(0), REVISION)
    root.chmod(0o755)
    assert ChunkStore(root).status().revisions
    assert mode(root) == 0o700


def test_a_folder_that_another_process_has_just_begun_to_use_is_taken(root: Path) -> None:
    (root / "keeper-0123456789abcdef-01234567.lock").touch()
    (root / ".note-abc_1234").touch()
    ChunkStore(root)
    assert mode(root) == 0o700


def test_a_folder_with_others_things_stays_open_to_them_though_models_come_there(root: Path) -> None:
    (root / "theirs").touch()
    root.chmod(0o755)
    store_model(ChunkStore(root), model(0), REVISION)
    assert ChunkStore(root).status().revisions
    assert writable_folder(root) == root
    assert mode(root) == 0o755
    assert mode(root / REVISION) == 0o700


def test_a_folder_where_others_write_and_have_things_is_refused_and_left_as_it_is(root: Path) -> None:
    (root / "theirs").touch()
    with pytest.raises(
        InvalidJob, match=r"its mode is 777, .* holds other things than models, as 'theirs'; name an empty"
    ):
        writable_folder(root)
    assert (mode(root), everything(root)) == (0o777, ["theirs"])
    root.chmod(0o755)
    store_model(ChunkStore(root), model(0), REVISION)
    root.chmod(0o777)
    with pytest.raises(PermissionError, match="holds other things than models"):
        ChunkStore(root)
    assert mode(root) == 0o777


@pytest.mark.skipif(not IS_ROOT, reason="only root gives a file to another user")
def test_what_another_user_named_like_a_model_is_no_model_of_this_cache(root: Path) -> None:
    (root / REVISION).mkdir()
    os.chown(root / REVISION, NOBODY, -1)
    with pytest.raises(PermissionError, match=f"holds other things than models, as '{REVISION}'"):
        ChunkStore(root)


def test_another_users_folder_is_refused_with_both_users(root: Path) -> None:
    if IS_ROOT:
        os.chown(root, NOBODY, -1)
    theirs = root if IS_ROOT else Path("/usr")
    before, owner = mode(theirs), theirs.stat().st_uid
    with pytest.raises(PermissionError, match=f"belongs to user {owner}, but this is user {os.geteuid()}; name a"):
        ChunkStore(theirs)
    assert mode(theirs) == before


def test_on_a_mount_that_gives_all_that_is_made_to_another_user_a_folder_is_taken(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)  # as a server that maps its clients' root to nobody
    store_model(ChunkStore(root), model(0), REVISION)
    assert mode(root) == 0o700
    assert [name for name in everything(root) if not name.startswith((REVISION, "budget."))] == []


def test_on_a_mount_without_modes_a_folder_is_used_unless_others_may_write_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "chmod", refuse)
        with pytest.raises(PermissionError, match=r"mode is 777, .* that cannot be changed \(Operation not permitted"):
            ChunkStore(root)
    root.chmod(0o755)
    monkeypatch.setattr(Path, "chmod", refuse)
    store_model(ChunkStore(root), model(0), REVISION)

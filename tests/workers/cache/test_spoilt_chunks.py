"""Chunks that are spoilt on a host's disk are found, told and repaired alone."""

from __future__ import annotations

from pathlib import Path
from threading import Timer

import pytest

from pressrun.cache.chunk_manifest import Chunk, ChunkManifest
from tests.workers.cache.stored_models import (
    CHUNK_BYTES,
    assert_served,
    contents,
    fetch,
    manifest_of,
    model,
    store_model,
)
from workers.cache import spoilt
from workers.cache.chunk_store import ChunkStore
from workers.cache.revision_folder import RevisionFolder

UNET = "unet/weights.safetensors"


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    return ChunkStore(tmp_path / "cache")


def spoil(store: ChunkStore, manifest: ChunkManifest) -> Chunk:
    """Spoil the second chunk of a published file."""
    chunk = manifest.files[1].chunks()[1]
    with (store.root / manifest.revision / UNET).open("r+b") as file:
        file.seek(chunk.start)
        file.write(b"spoilt")
    return chunk


def test_a_chunk_that_is_spoilt_on_disk_is_not_copied(store: ChunkStore) -> None:
    base = model(1)
    tuned = {**base, UNET: base[UNET][: 3 * CHUNK_BYTES] + model(2)[UNET][:CHUNK_BYTES]}
    store_model(store, base, "base")
    with (store.root / "base" / UNET).open("r+b") as file:
        file.write(b"spoilt")
    assert store_model(store, tuned, "tuned", published=True) == 2 * CHUNK_BYTES
    assert contents(store.root / "tuned") == tuned


def test_a_spoilt_chunk_is_found_dropped_and_repaired_alone(tmp_path: Path) -> None:
    lost: list[str] = []
    store = ChunkStore(tmp_path / "cache", dropped=lost.extend)
    files, manifest = model(1), manifest_of(model(1), "r1")
    store_model(store, files, "r1")
    assert store.recheck(manifest.files[1].chunks()[1].chunk_id)
    second = spoil(store, manifest)
    assert not store.recheck(second.chunk_id)
    assert second.chunk_id in lost
    assert store.find(second.chunk_id) is None
    assert store.folder_of(manifest) is None
    assert store_model(store, files, "r1") == CHUNK_BYTES
    assert_served(store, manifest, files)


@pytest.mark.parametrize("is_let_go", [True, False])
def test_a_spoilt_file_is_published_no_more_whoever_holds_its_revision(
    store: ChunkStore, monkeypatch: pytest.MonkeyPatch, is_let_go: bool
) -> None:
    files, manifest = model(1), manifest_of(model(1), "r1")
    store_model(store, files, "r1")
    second = spoil(store, manifest)
    lock = RevisionFolder(store.root, "r1").lock()
    lock.acquire()
    if is_let_go:
        Timer(0.1, lock.release).start()
    else:
        monkeypatch.setattr(spoilt, "_PATIENCE_S", 0.0)
    assert not store.recheck(second.chunk_id)
    assert store.folder_of(manifest) is None
    lock.release()
    assert store_model(store, files, "r1") == (CHUNK_BYTES if is_let_go else len(files[UNET]))
    assert_served(store, manifest, files)


def test_a_spoilt_file_that_was_published_before_the_others_came_is_fetched_again(store: ChunkStore) -> None:
    files, manifest = model(1), manifest_of(model(1), "r1")
    with store.begin(manifest) as filling:
        fetch(filling, files, manifest.files[1].chunks())
        filling.publish_file(UNET)
    assert not store.recheck(spoil(store, manifest).chunk_id)
    assert store.file_of(manifest, UNET) is None
    store_model(store, files, "r1")
    assert_served(store, manifest, files)


def test_a_spoilt_chunk_of_a_filling_is_lacking_again(store: ChunkStore) -> None:
    files = model(1)
    with store.begin(manifest_of(files, "r1")) as filling:
        fetch(filling, files)
        filling.publish_file(UNET)
        chunk = manifest_of(files, "r1").files[1].chunks()[2]
        piece = store.find(chunk.chunk_id)
        assert piece is not None
        with piece.path.open("r+b") as file:
            file.seek(piece.start)
            file.write(b"spoilt")
        assert not store.recheck(chunk.chunk_id)
        assert filling.lacking == [chunk]
        fetch(filling, files)
        filling.publish()
    assert contents(store.root / "r1") == files


def test_a_spoilt_chunk_of_a_shared_file_is_repaired_in_both_revisions(store: ChunkStore) -> None:
    files = model(1)
    for revision in ("r1", "r2"):
        store_model(store, files, revision)
    chunk = manifest_of(files, "r1").files[1].chunks()[0]
    with (store.root / "r1" / UNET).open("r+b") as file:
        file.write(b"spoilt")
    assert not store.recheck(chunk.chunk_id)
    assert [store.folder_of(manifest_of(files, revision)) for revision in ("r1", "r2")] == [None, None]
    assert [store_model(store, files, revision) for revision in ("r1", "r2")] == [CHUNK_BYTES, 0]
    assert [contents(store.root / revision) for revision in ("r1", "r2")] == [files, files]

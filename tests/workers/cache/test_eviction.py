"""A cache folder keeps to its budget: what was used longest ago goes, what is in use stays."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pressrun.cache.options import UNLIMITED_BYTES
from pressrun.errors import CacheFull, CacheInUse, InvalidModel
from pressrun.wording import quantity
from tests.workers.cache.stored_models import CHUNK_BYTES, contents, fetch, forked, manifest_of, model, store_model
from workers.cache import store_state
from workers.cache.chunk_store import ChunkStore
from workers.cache.folder_notes import note_budget
from workers.cache.pins import unpinned

SIZE = manifest_of(model(0), "any").size_bytes
DIGEST = "c" * 32  # as models' revisions are; what is being filled is known by it


def pin_for_ever(root: Path, revision: str, told: int) -> None:
    with ChunkStore(root).pin(revision):
        os.write(told, b"pinned")
        signal.pause()


def use_at(store: ChunkStore, revision: str, used_s: float) -> None:
    """Let a revision have been used at some time."""
    for path in (store.root / revision, store.root / revision / "complete.json", store.root / f"{revision}.pin"):
        if path.exists():
            os.utime(path, (used_s, used_s))


def filled(store: ChunkStore, *revisions: str) -> ChunkStore:
    """Fill revisions, each used later than the one before."""
    for number, revision in enumerate(revisions):
        store_model(store, model(number), revision)
        use_at(store, revision, 1000 + number)
    return store


def revisions(store: ChunkStore) -> list[str]:
    return [state.revision for state in store.status().revisions]


def gb(size_bytes: int) -> str:
    return f"{quantity(size_bytes / 1e9)} GB"


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 3 * SIZE), "a", "b", "c")
    with store.pin("a"):
        pass
    store_model(store, model(3), "d")
    # Down to the low watermark: one more than needed.
    assert revisions(store) == ["a", "d"]
    assert store.status().size_bytes == 2 * SIZE
    assert contents(tmp_path / "a") == model(0)


def test_a_budget_that_is_noted_in_the_folder_holds_for_every_store_there_from_then_on(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path), "a", "b")
    note_budget(tmp_path, 2 * SIZE)
    store_model(store, model(2), "c")
    assert revisions(store) == ["c"]
    note_budget(tmp_path, SIZE - 1)
    with pytest.raises(InvalidModel, match=f"{gb(SIZE)}, but .* {gb(SIZE - 1)}"):
        store.begin(manifest_of(model(3), "d"))
    note_budget(tmp_path, UNLIMITED_BYTES)
    store_model(store, model(3), "d")
    assert revisions(store) == ["c", "d"]
    assert store.status().budget_bytes is None


def test_looking_is_no_use(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 4 * SIZE), "d", "c", "b", "a")
    assert [state.last_used_s for state in store.status().revisions] == [1003, 1002, 1001, 1000]
    store_model(store, model(4), "e")
    assert revisions(store) == ["a", "b", "e"]


def test_no_more_goes_than_brings_it_to_the_low_watermark(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 5 * SIZE), *"abcde")
    store_model(store, model(5), "f")
    assert revisions(store) == list("cdef")


def test_evicted_chunks_are_told_and_not_served_any_more(tmp_path: Path) -> None:
    lost: list[str] = []
    store = filled(ChunkStore(tmp_path, SIZE, lost.extend), "a")
    gone = {chunk.chunk_id for chunk in manifest_of(model(0), "a").chunks()}
    store_model(store, model(1), "b")
    assert gone <= set(lost)
    assert all(store.find(chunk_id) is None for chunk_id in gone)
    assert store.folder_of(manifest_of(model(0), "a")) is None


def test_an_evicted_revision_leaves_its_manifest(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path), "a", "b")
    assert store.shrink_to(SIZE) == SIZE
    assert revisions(store) == ["b"]
    assert store.shrink_to(0) == 0
    assert not store.held()
    assert store.manifest_of("a") == manifest_of(model(0), "a", published=True)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["manifest.json"]
    store_model(store, model(0), "a")
    assert contents(tmp_path / "a") == model(0)


def test_a_dropped_revision_leaves_nothing(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path), "a")
    store.drop("a")
    store.drop("never-was")
    assert not (tmp_path / "a").exists()
    assert store.manifest_of("a") is None


def test_what_somebody_looks_at_can_be_dropped_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, is_looking = filled(ChunkStore(tmp_path), "a"), threading.Event()

    def is_locked_for_long(path: Path) -> bool:
        with unpinned(path) as is_free:  # as who looks locks it
            is_looking.set()
            time.sleep(0.1)
            return not is_free

    monkeypatch.setattr(store_state, "is_locked", is_locked_for_long)
    with ThreadPoolExecutor() as threads:
        looks = threads.submit(store.status)
        assert is_looking.wait(10)
        store.drop("a")
        assert [state.is_pinned for state in looks.result().revisions] == [False]
    assert revisions(store) == []


def test_a_model_larger_than_the_budget_is_refused_with_both_numbers(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 2 * SIZE), "a")
    with pytest.raises(InvalidModel, match=rf"has {gb(4 * SIZE)}.* may hold {gb(2 * SIZE)}; raise the cache's budget"):
        store.begin(manifest_of({"w": bytes(4 * SIZE)}, "large"))
    assert revisions(store) == ["a"]


def test_pins_of_other_processes_hold_until_these_die(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, SIZE), "a")
    with forked(pin_for_ever, tmp_path, "a") as (pid, reads):
        assert os.read(reads, 100) == b"pinned"
        assert store.status().revisions[0].is_pinned
        assert store.shrink_to(0) == SIZE
        with pytest.raises(CacheInUse, match=r"revision a .* being used"):
            store.drop("a")
        with pytest.raises(CacheFull, match=rf"needs {gb(SIZE)} more .* holds {gb(SIZE)} of at most {gb(SIZE)} in use"):
            store_model(store, model(1), "b")
        assert contents(tmp_path / "a") == model(0)
        os.kill(pid, signal.SIGKILL)
        assert os.read(reads, 1) == b""  # it is gone
        store_model(store, model(1), "b")
    assert revisions(store) == ["b"]


def test_a_revision_that_is_being_filled_stays(tmp_path: Path) -> None:
    store, other = ChunkStore(tmp_path, 2 * SIZE), ChunkStore(tmp_path, 2 * SIZE)
    with store.begin(manifest_of(model(0), DIGEST)) as filling:
        assert other.status().revisions[0].is_filling
        assert other.shrink_to(0) == SIZE
        store_model(other, model(1), "b")
        with pytest.raises(CacheFull), other.pin("b"):
            other.begin(manifest_of(model(2), "c"))
        fetch(filling, model(0))
        filling.publish()
    assert contents(tmp_path / DIGEST) == model(0)


@pytest.mark.parametrize("name", ["data", "0123", "models.v2"])
def test_others_folders_beside_a_cache_s_own_are_neither_counted_nor_shown_nor_removed(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "theirs").write_bytes(bytes(SIZE))
    (tmp_path / f"{name}.lock").touch()
    store = filled(ChunkStore(tmp_path, SIZE), "a", "b")
    assert revisions(store) == ["b"]
    assert store.shrink_to(0) == 0
    assert (tmp_path / name / "theirs").read_bytes() == bytes(SIZE)


def test_what_revisions_share_counts_once_and_stays_with_the_last(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 2 * SIZE), "a")
    for revision in ("a2", "a3"):
        store_model(store, model(0), revision)
    use_at(store, "a3", 2000)
    assert store.status().size_bytes == SIZE
    store_model(store, model(1), "b")
    assert len(revisions(store)) == 4
    assert contents(tmp_path / "a3") == model(0)


def test_what_would_free_nothing_stays(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 2 * SIZE), "a", "b")
    store_model(store, model(0), "a2")
    with store.pin("a2"):
        store_model(store, model(2), "c")
    assert revisions(store) == ["a", "a2", "c"]


def test_revisions_that_share_all_their_files_make_room_together(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 3 * SIZE), "a")
    store_model(store, model(0) | {"more.safetensors": bytes(CHUNK_BYTES)}, "a2")
    store_model(store, {"w": bytes(5 * SIZE // 2)}, "large")
    assert revisions(store) == ["large"]


@given(
    shares=st.lists(st.sets(st.integers(0, 4)), max_size=5),
    pinned=st.sets(st.integers(0, 4)),
)
@settings(max_examples=30, deadline=None)
def test_shrunk_to_nothing_a_cache_holds_what_is_pinned_and_no_more(shares: list[set[int]], pinned: set[int]) -> None:
    with TemporaryDirectory() as temporary, ExitStack() as pins:
        root, store = Path(temporary), ChunkStore(Path(temporary))
        for number in range(5):
            (root / f"file{number}").write_bytes(bytes(2**number))
        for revision, files in enumerate(shares):
            (root / f"r{revision}").mkdir()
            (root / f"r{revision}.pin").touch()
            for number in files:
                os.link(root / f"file{number}", root / f"r{revision}" / f"file{number}")
            if revision in pinned:
                pins.enter_context(store.pin(f"r{revision}"))
        kept = {number for revision, files in enumerate(shares) if revision in pinned for number in files}
        assert store.shrink_to(0) == sum(2**number for number in kept)


def test_nothing_is_evicted_for_what_would_not_fit_all_the_same(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 3 * SIZE), "a", "b")
    big = manifest_of(model(3, chunks=12), DIGEST)
    assert 2 * SIZE < big.size_bytes < 3 * SIZE
    with store.pin("b"), pytest.raises(CacheFull, match=f"holds {gb(SIZE)} of at most {gb(3 * SIZE)} in use"):
        store.begin(big)
    assert store.folder_of(manifest_of(model(0), "a")) == tmp_path / "a"
    store.begin(big).close()
    assert revisions(store) == [DIGEST]


def test_a_revision_that_chunks_can_be_copied_from_goes_last(tmp_path: Path) -> None:
    store = filled(ChunkStore(tmp_path, 5 * SIZE // 2), "base", "other")
    tuned = {**model(0), "unet/weights.safetensors": model(0)["unet/weights.safetensors"] + bytes(CHUNK_BYTES)}
    assert store_model(store, tuned, "tuned", published=True) == CHUNK_BYTES
    assert revisions(store) == ["base", "tuned"]


def test_a_disk_without_room_is_told_with_both_numbers_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(ChunkStore(tmp_path), "a")
    allocate, calls = os.posix_fallocate, list[int]()

    def no_room_for_weights(descriptor: int, offset: int, size_bytes: int) -> None:
        calls.append(size_bytes)
        if size_bytes == 4 * CHUNK_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")
        allocate(descriptor, offset, size_bytes)

    monkeypatch.setattr(os, "posix_fallocate", no_room_for_weights)
    with store.pin("a"), pytest.raises(CacheFull, match=rf"needs {gb(SIZE)} more .*on a disk with .* GB free"):
        store.begin(manifest_of(model(1), "b"))
    assert 4 * CHUNK_BYTES in calls
    assert store.status().size_bytes == SIZE
    monkeypatch.undo()
    store_model(store, model(1), "b")
    assert contents(tmp_path / "b") == model(1)

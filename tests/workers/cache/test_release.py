"""A host's cache around a release: room is made sure of before, and afterwards it holds as much as it did."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from pressrun.errors import InvalidModel, StageFailed
from pressrun.wording import size
from tests.workers.cache.hosts import hosts
from tests.workers.cache.stored_models import manifest_of, model, store_model
from workers import waiting_room
from workers.cache import release
from workers.cache.chunk_store import ChunkStore
from workers.cache.folder_notes import note_budget, noted_budget
from workers.cache.release import grow, shrink
from workers.fleet import LocalFleet

SIZE = manifest_of(model(0), "any").size_bytes
DIGEST = "c" * 32  # as models' revisions are; what is being filled is known by it
MORE_THAN_ANY_DISK = 2**60


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    """Give a cache with two revisions."""
    store = ChunkStore(tmp_path / "cache")
    for number, revision in enumerate(("old", "older")):
        store_model(store, model(number), revision)
    with store.pin("old"):
        pass
    return store


def held(store: ChunkStore) -> set[str]:
    return {state.revision for state in store.status().revisions}


def released(fleet: LocalFleet, store: ChunkStore, revision: str, is_kept: bool) -> int:
    """Release a revision, and return the bytes that were freed at the end."""
    client, root = fleet.open(), str(store.root)
    caches = grow(client, root, revision, SIZE)
    assert [(cache.held_bytes, cache.had_revision) for cache in caches] == [(2 * SIZE, revision in held(store))]
    store_model(store, model(2 if revision == "new" else 0), revision)
    return shrink(client, root, caches, revision, is_kept)


def test_an_accepted_revision_stays_beside_the_others_where_no_budget_is_set(
    fleet: LocalFleet, store: ChunkStore
) -> None:
    assert released(fleet, store, "new", True) == 0
    assert held(store) == {"new", "old", "older"}


def test_under_a_budget_an_accepted_revision_stays_for_the_one_used_longest_ago(
    fleet: LocalFleet, store: ChunkStore
) -> None:
    note_budget(store.root, 2 * SIZE)
    assert released(fleet, store, "new", True) == SIZE
    assert held(store) == {"old", "new"}


def test_a_refused_revision_goes_and_nothing_else(fleet: LocalFleet, store: ChunkStore) -> None:
    assert released(fleet, store, "new", False) == SIZE
    assert held(store) == {"old", "older"}


def test_a_refused_revision_that_a_run_draws_with_by_now_stays(fleet: LocalFleet, store: ChunkStore) -> None:
    with store.pin("new"):
        assert released(fleet, store, "new", False) == 0
    assert held(store) == {"new", "old", "older"}


def test_a_refused_revision_that_was_there_before_stays(fleet: LocalFleet, store: ChunkStore) -> None:
    assert released(fleet, store, "old", False) == 0
    assert held(store) == {"old", "older"}


def test_a_revision_in_use_stays_and_the_next_one_goes(fleet: LocalFleet, store: ChunkStore) -> None:
    note_budget(store.root, 2 * SIZE)
    with store.pin("older"):
        assert released(fleet, store, "new", True) == SIZE
    assert held(store) == {"older", "new"}


def test_a_host_without_a_cache_keeps_what_it_got(fleet: LocalFleet, tmp_path: Path) -> None:
    client, root = fleet.open(), str(tmp_path / "cache")
    caches = grow(client, root, "new", SIZE)
    assert shrink(client, root, caches, "new", True) == 0
    assert [cache.held_bytes for cache in caches] == [0]
    store = ChunkStore(tmp_path / "cache")
    store_model(store, model(2), "new")
    assert shrink(client, root, caches, "new", True) == 0
    assert held(store) == {"new"}


def test_a_release_has_room_beyond_the_budget_which_holds_again_afterwards(
    fleet: LocalFleet, store: ChunkStore
) -> None:
    note_budget(store.root, 2 * SIZE)
    assert released(fleet, store, "new", False) == SIZE
    assert held(store) == {"old", "older"}  # neither had to make room
    assert store.status().budget_bytes == 2 * SIZE
    with pytest.raises(InvalidModel, match=r"model has [\d.]+ kB, but the cache of .* may hold [\d.]+ kB; raise"):
        grow(fleet.open(), str(store.root), "larger", 2 * SIZE + 1)


def test_a_disk_with_too_little_room_is_told_before_anything_is_brought(fleet: LocalFleet, store: ChunkStore) -> None:
    with pytest.raises(StageFailed, match=r"has [\d.]+ GB free at .*, the model needs 1152921504\.607 GB"):
        grow(fleet.open(), str(store.root), "new", MORE_THAN_ANY_DISK)


def test_what_a_release_that_was_killed_has_brought_or_taken_room_for_is_not_needed_again(
    fleet: LocalFleet, store: ChunkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.begin(manifest_of(model(2), DIGEST)).close()  # with the room for all of it, and nothing in it
    note_budget(store.root, 2 * SIZE)
    (cache,) = grow(fleet.open(), str(store.root), DIGEST, SIZE)
    assert (cache.needed_bytes, cache.had_revision) == (0, False)
    assert noted_budget(store.root) == 3 * SIZE
    monkeypatch.setattr(release.shutil, "disk_usage", lambda path: SimpleNamespace(free=SIZE - 1))
    look = partial(release._look, str(store.root), size_bytes=SIZE, address="tcp://host:1")
    assert look(DIGEST).needed_bytes == 0
    with (
        store.pin("old"),
        pytest.raises(StageFailed, match=f"0 GB free .* 0.000 GB more; .*where {size(2 * SIZE)} are"),
    ):
        look("newer")


def test_a_worker_that_is_gone_does_not_keep_a_host_from_shrinking(fleet: LocalFleet, store: ChunkStore) -> None:
    client, root = fleet.open(), str(store.root)
    (cache,) = grow(client, root, "new", SIZE)
    store_model(store, model(2), "new")
    assert shrink(client, root, [replace(cache, address="tcp://127.0.0.1:1")], "new", False) == SIZE


def test_a_host_whose_worker_is_given_no_tasks_has_its_own_budget_raised_and_given_back_and_no_other(
    tmp_path: Path,
) -> None:
    with hosts(tmp_path, 2) as (_, client):
        roots = client.run(lambda: Path("~/cache").expanduser())
        waiting, other = sorted(roots)
        store_model(ChunkStore(roots[waiting]), model(0), "old")
        note_budget(roots[waiting], SIZE)
        waiting_room.enter(client, "another run", [waiting])
        caches = grow(client, "~/cache", "new", SIZE)
        found = {cache.address: (cache.held_bytes, cache.budget_bytes) for cache in caches}
        assert found == {waiting: (SIZE, SIZE), other: (0, None)}
        assert {at: noted_budget(root) for at, root in roots.items()} == {waiting: 2 * SIZE, other: None}
        store_model(ChunkStore(roots[other]), model(0), "old")
        shrink(client, "~/cache", caches, "new", True)
        assert {at: noted_budget(root) for at, root in roots.items()} == {waiting: SIZE, other: None}
        assert [held(ChunkStore(root)) for root in roots.values()] == [{"old"}, {"old"}]

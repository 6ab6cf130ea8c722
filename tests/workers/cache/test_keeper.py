"""What one host brings, whatever else happens on it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pressrun.cache.messages import Abandoned, Event, Joined, Recheck
from pressrun.cache.registry import Registry
from pressrun.cache.sources import Limits
from pressrun.errors import InvalidModel
from pressrun.location import Location
from tests.workers.cache.chunk_hosts import until
from tests.workers.cache.stored_models import CHUNK_BYTES, Files, contents, manifest_of, model
from workers.cache import keeper as keeping
from workers.cache.alone import AloneKeeper
from workers.cache.chunk_client import ChunkClient
from workers.cache.chunk_store import ChunkStore
from workers.cache.keeper import Keeper

FIRST, SECOND = Location("s3://models/first"), Location("s3://models/second")
SHARED = model(1, chunks=12)
MODELS: dict[str, Files] = {FIRST.url: SHARED, SECOND.url: SHARED | {"model_index.json": b"another"}}


class ReadOrigin:
    """An origin of bytes that counts its reads, and lets a test look in between."""

    def __init__(self, files: Files, reads: list[tuple[str, int]], before: Callable[[], None]) -> None:
        self._files, self._reads, self._before = files, reads, before

    def read(self, path: str, start: int, digest: str, into: memoryview) -> None:
        self._before()
        self._reads.append((path, start))
        into[:] = self._files[path][start : start + len(into)]


def test_what_two_models_share_is_read_once_however_their_bringing_overlaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[str, int]] = []
    some_came, second_asked = threading.Event(), threading.Event()

    def before() -> None:
        if len(reads) > 5:  # the rest comes once the second model is under way too
            some_came.set()
            assert second_asked.wait(20)

    def open_origin(location: Location, single_file: bool) -> ReadOrigin:
        if location == SECOND:
            assert some_came.wait(20)
            threading.Timer(0.1, second_asked.set).start()
        return ReadOrigin(MODELS[location.url], reads, before)

    monkeypatch.setattr(keeping, "open_origin", open_origin)
    with AloneKeeper(ChunkStore(tmp_path)) as keeper, ThreadPoolExecutor() as threads:
        brings = [
            threads.submit(keeper.bring, location, manifest_of(MODELS[location.url], revision))
            for location, revision in ((FIRST, "r1"), (SECOND, "r2"))
        ]
        folders = [bring.result(timeout=30).path for bring in brings]
    assert [contents(folder) for folder in folders] == [MODELS[FIRST.url], MODELS[SECOND.url]]
    chunks = sum(-(-len(content) // CHUNK_BYTES) for content in SHARED.values())
    assert len(reads) == chunks + 1


def test_a_chunk_that_is_found_spoilt_before_the_rest_has_come_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[str, int]] = []
    some_came, looked = threading.Event(), threading.Event()

    def before() -> None:
        if len(reads) > 5:
            some_came.set()
            assert looked.wait(20)

    monkeypatch.setattr(keeping, "open_origin", lambda location, single: ReadOrigin(SHARED, reads, before))
    manifest, store = manifest_of(SHARED, "r1"), ChunkStore(tmp_path)
    with AloneKeeper(store, Limits(origin_each=2, origin_least=1)) as keeper, ThreadPoolExecutor() as threads:
        bring = threads.submit(keeper.bring, FIRST, manifest)
        assert some_came.wait(20)
        spoilt = next(
            chunk for chunk in manifest.chunks() if chunk.path.startswith("unet") and chunk.chunk_id in store.held()
        )
        with (tmp_path / "r1" / f"{spoilt.path}.partial").open("r+b") as file:
            file.seek(spoilt.start)
            file.write(b"spoilt")
        keeper.obey(Recheck("this host", spoilt.chunk_id))
        until(lambda: spoilt.chunk_id not in store.held())
        looked.set()
        assert contents(bring.result(timeout=30).path) == SHARED
    assert reads.count((spoilt.path, spoilt.start)) == 2


def test_what_came_under_one_name_is_told_to_peers_under_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "open_origin", lambda location, single: ReadOrigin(SHARED, [], lambda: None))
    registry, lock = Registry(), threading.Lock()
    client = ChunkClient(bytes(32))

    def tell(event: Event) -> None:
        with lock:
            registry.tell(event, 0.0)
            commands = registry.commands(0.0)
        for command in commands:
            keeper.obey(command)

    keeper = Keeper(Joined("here", "", ""), ChunkStore(tmp_path), client, tell)
    with closing(keeper):
        keeper.announce()
        keeper.bring(FIRST, manifest_of(SHARED, "r1"))
        chunks = manifest_of(SHARED, "r1", published=True).chunks()
        until(lambda: all(registry.swarm.holders(chunk.chunk_id) for chunk in chunks))
        assert all(registry.swarm.holders(chunk.alias) == {"here"} for chunk in chunks)


def test_a_model_with_a_chunk_that_others_have_other_bytes_of_is_not_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[str, int]] = []
    some_came, told = threading.Event(), threading.Event()

    def before() -> None:
        if len(reads) > 5:
            some_came.set()
            assert told.wait(20)

    monkeypatch.setattr(keeping, "open_origin", lambda location, single: ReadOrigin(SHARED, reads, before))
    manifest, store = manifest_of(SHARED, "r1"), ChunkStore(tmp_path)
    with AloneKeeper(store) as keeper, ThreadPoolExecutor() as threads:
        bring = threads.submit(keeper.bring, FIRST, manifest)
        assert some_came.wait(20)
        doubtful, *others = [chunk.chunk_id for chunk in manifest.chunks() if chunk.chunk_id in store.held()]
        keeper.obey(Abandoned("this host", (doubtful,), "it was changed at its origin", are_doubtful=True))
        told.set()
        with pytest.raises(InvalidModel, match="was changed"):
            bring.result(timeout=30)
    assert store.folder_of(manifest) is None
    assert doubtful not in store.held()
    assert set(others) <= store.held().keys()


def test_a_chunk_that_others_have_other_bytes_of_goes_even_after_its_model_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[str, int]] = []
    monkeypatch.setattr(keeping, "open_origin", lambda location, single: ReadOrigin(SHARED, reads, lambda: None))
    manifest, store = manifest_of(SHARED, "r1"), ChunkStore(tmp_path)
    with AloneKeeper(store) as keeper:
        keeper.bring(FIRST, manifest)
        doubtful, sound = [chunk for chunk in manifest.chunks() if chunk.path.startswith("unet")][:2]
        keeper.obey(Abandoned("this host", (sound.chunk_id,), "its origin is away"))
        keeper.obey(Abandoned("this host", (doubtful.chunk_id,), "it was changed at its origin", are_doubtful=True))
        until(lambda: doubtful.chunk_id not in store.held())
        assert store.folder_of(manifest) is None
        assert contents(keeper.bring(FIRST, manifest).path) == SHARED
    assert reads.count((doubtful.path, doubtful.start)) == 2
    assert len(reads) == len(manifest.chunks()) + 1

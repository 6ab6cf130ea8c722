"""What a keeper tells the registry of what it was sent for, in every outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pressrun.cache.messages import ORIGIN, Abandoned, Alive, Event, Failed, Fetch, Got, Joined, Wants
from pressrun.cache.sources import Limits
from pressrun.errors import CacheInUse, InvalidModel
from pressrun.location import Location
from tests.workers.cache.chunk_hosts import until
from tests.workers.cache.stored_models import contents, manifest_of, model
from workers.cache import keeper as keeping
from workers.cache.alone import AloneKeeper
from workers.cache.chunk_client import ChunkClient
from workers.cache.chunk_store import ChunkStore
from workers.cache.keeper import Keeper
from workers.cache.origin_reads import OriginReads

PLACE = Location("s3://models/paint")
FILES = model(3)
MANIFEST = manifest_of(FILES, "r1")
CHUNK_IDS = [chunk.chunk_id for chunk in MANIFEST.chunks()]


class GatedOrigin:
    """An origin that gives nothing before its gate is open."""

    def __init__(self) -> None:
        self.gate, self.asked = threading.Event(), threading.Event()

    def read(self, path: str, start: int, digest: str, into: memoryview) -> None:
        self.asked.set()
        assert self.gate.wait(20)
        into[:] = FILES[path][start : start + len(into)]


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[GatedOrigin]:
    origin = GatedOrigin()
    monkeypatch.setattr(keeping, "open_origin", lambda location, single_file: origin)
    yield origin
    origin.gate.set()


@contextmanager
def bringing(root: Path, said: list[Event], downloads: int = 6) -> Iterator[Keeper]:
    """A keeper that brings the model, which whoever holds this is the registry of."""
    keeper = Keeper(Joined("here", "", ""), ChunkStore(root), ChunkClient(bytes(32)), said.append, downloads)
    with ThreadPoolExecutor() as threads:
        bring = threads.submit(keeper.bring, PLACE, MANIFEST)
        until(lambda: any(isinstance(news, Wants) for news in said))
        try:
            yield keeper
        finally:
            keeper.close()
            with pytest.raises(InvalidModel):
                bring.result(timeout=20)


def read(chunk_id: str) -> Fetch:
    return Fetch("here", chunk_id, ORIGIN, "", "", "", 12.0, 10.0)


def test_a_chunk_that_came_when_its_model_was_given_up_is_not_told_as_held(tmp_path: Path, origin: GatedOrigin) -> None:
    said: list[Event] = []
    with bringing(tmp_path, said) as keeper:
        keeper.obey(read(CHUNK_IDS[0]))
        assert origin.asked.wait(20)
        keeper._give_up(Abandoned("here", (CHUNK_IDS[1],), "it is gone"))
        until(lambda: not keeper.waiting_chunks)
        origin.gate.set()
        until(lambda: any(isinstance(news, Got | Failed) for news in said))
        (told,) = [news for news in said if isinstance(news, Got | Failed)]
        assert (type(told), told.chunk_id, getattr(told, "fault", "")) == (Failed, CHUNK_IDS[0], "unneeded")


def test_a_read_that_waits_for_a_thread_is_alive(tmp_path: Path, origin: GatedOrigin) -> None:
    said: list[Event] = []
    with bringing(tmp_path, said, downloads=1) as keeper:
        for chunk_id in CHUNK_IDS[:2]:
            keeper.obey(read(chunk_id))
        keeper.beat()
        (alive,) = [news for news in said if isinstance(news, Alive)]
        assert set(alive.chunk_ids) == set(CHUNK_IDS[:2])
        origin.gate.set()
        until(lambda: len([news for news in said if isinstance(news, Got)]) == 2)
        said.clear()
        keeper.beat()
        assert not any(isinstance(news, Alive) for news in said)


def test_a_read_that_hangs_is_not_alive_for_ever_nor_begun_once_more_beside_it(
    tmp_path: Path, origin: GatedOrigin
) -> None:
    said: list[Event] = []
    now = [0.0]
    with bringing(tmp_path, said) as keeper:
        keeper._reads = OriginReads(hung_s=2100.0, clock=lambda: now[0])
        keeper.obey(read(CHUNK_IDS[0]))
        now[0] = 2000.0
        keeper.beat()
        assert Alive("here", (CHUNK_IDS[0],)) in said
        now[0] = 2100.0
        said.clear()
        keeper.beat()
        assert not any(isinstance(news, Alive) for news in said)
        keeper.obey(read(CHUNK_IDS[0]))
        (failed,) = [news for news in said if isinstance(news, Failed)]
        assert (failed.fault, "not answered" in failed.reason) == ("origin", True)


@pytest.mark.parametrize("revision", ["r1", "r2"])
def test_a_model_comes_from_its_origin_though_it_was_asked_of_peers_alone_before(
    tmp_path: Path, origin: GatedOrigin, revision: str
) -> None:
    origin.gate.set()
    with AloneKeeper(ChunkStore(tmp_path), Limits(ban_s=0.1)) as keeper, ThreadPoolExecutor() as threads:
        from_peers = threads.submit(keeper.bring, None, manifest_of(FILES, revision), timeout_s=20.0)
        until(lambda: keeper.waiting_chunks > 0)
        began = time.monotonic()
        assert contents(keeper.bring(PLACE, MANIFEST).path) == FILES
        assert contents(from_peers.result(timeout=20).path) == FILES
        assert time.monotonic() - began < 10


def test_who_waits_for_a_turn_does_so_no_longer_than_it_wants_to(tmp_path: Path, origin: GatedOrigin) -> None:
    said: list[Event] = []
    with bringing(tmp_path, said) as keeper, pytest.raises(CacheInUse, match=r"more than 0\.1 s"):
        keeper.bring(None, MANIFEST, timeout_s=0.1)

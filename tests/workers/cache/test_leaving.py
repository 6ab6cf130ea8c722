"""Workers of a real cluster that Dask retires: what their host alone has is on another host afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from pressrun.cache.chunk_manifest import ChunkManifest, cut
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFile
from tests.awaiting import PATIENCE_S, until
from tests.workers.cache.hosts import hosts
from tests.workers.cache.stored_models import CHUNK_BYTES
from workers import waiting_room
from workers.cache import upkeep
from workers.cache.joining import SharedCache
from workers.cache.links import link_for
from workers.cache.upkeep import standings

CACHE = SharedCache("~/cache")
CONTENT = random.Random(7).randbytes(10 * CHUNK_BYTES + 17)  # the same in every process


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Give a cluster of two hosts, each with its own cache."""
    with hosts(tmp_path / "homes", 2) as (_, client):
        CACHE.join(client)
        until(lambda: [one.is_keeper for one in standings(client, CACHE.folder).values()] == [True, True])
        yield client


@pytest.fixture
def origin(tmp_path: Path) -> Location:
    (tmp_path / "weights.safetensors").write_bytes(CONTENT)
    return Location(f"file://{tmp_path}")


def bring(origin: Location, revision: str) -> int:
    link = link_for(Path(CACHE.folder).expanduser())
    assert link is not None
    files = [ModelFile("weights.safetensors", len(CONTENT), f"etag:{revision}")]
    return link.bring(origin, cut(origin, revision, files, CHUNK_BYTES)).origin_bytes


def bring_to(client: Client, worker: str, origin: Location, revision: str = "sole") -> int:
    origin_bytes: int = client.submit(bring, origin, revision, workers=[worker], pure=False).result(PATIENCE_S)
    return origin_bytes


def fail_to_take(revision: str) -> None:
    """Have this worker fail when it is to take over a revision."""
    take_over = upkeep.take_over

    async def failing(folder: str, manifest: ChunkManifest, timeout_s: float) -> str:
        if manifest.revision == revision:
            raise OSError("no route")
        return await take_over(folder, manifest, timeout_s)

    upkeep.take_over = failing


def test_a_retired_host_hands_over_what_it_alone_has(client: Client, origin: Location, tmp_path: Path) -> None:
    first, second = client.nthreads()
    assert bring_to(client, first, origin) == len(CONTENT)
    (tmp_path / "weights.safetensors").unlink()  # it cannot come from its origin any more
    waiting_room.enter(client, "drawing", [second])  # a worker that a run holds back takes it as well
    client.retire_workers([first])
    assert list(client.nthreads()) == [second]
    until(lambda: set(standings(client, CACHE.folder)[second].whole) == {"sole"})
    waiting_room.leave(client, "drawing")
    assert bring_to(client, second, origin) == 0
    left = [path.parent.name for path in (tmp_path / "homes").glob("*/cache/sole/weights.safetensors")]
    assert left == ["sole", "sole"]  # the one that left has lost nothing
    # Nobody is left to take it. Dask refuses for as long as the last task's result is there, which nobody waits for.
    until(lambda: client.retire_workers([second]) is not None and not client.nthreads())


def test_what_cannot_be_handed_over_keeps_nothing_else_from_it(client: Client, origin: Location) -> None:
    first, second = client.nthreads()
    for revision in ("a", "b", "c"):
        bring_to(client, first, origin, revision)
    client.run(fail_to_take, "b", workers=[second])
    client.retire_workers([first])
    until(lambda: set(standings(client, CACHE.folder)[second].whole) == {"a", "c"})

"""Hosts of a real cluster that shrink, drop, and hand over what they alone have; what others think of it."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, get_worker

from pressrun.cache.chunk_manifest import ChunkManifest, cut, hash_of
from pressrun.cache.options import UNLIMITED_BYTES
from pressrun.errors import CacheFull, InvalidModel
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFile
from pressrun.wording import size
from tests.awaiting import PATIENCE_S, until
from tests.workers.cache.hosts import HostEach, hosts
from tests.workers.cache.stored_models import CHUNK_BYTES
from workers.cache import host_states
from workers.cache.channel import stream_op
from workers.cache.chunk_store import ChunkStore
from workers.cache.folder_notes import noted_budget
from workers.cache.joining import SharedCache
from workers.cache.links import link_for
from workers.cache.sockets import Deadline, connect, split_address
from workers.cache.store_state import look
from workers.cache.upkeep import Standing, one_a_host, rooms, standings

CACHE = SharedCache("~/cache")
CONTENT = random.Random(5).randbytes(10 * CHUNK_BYTES + 17)  # the same in every process


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(scope="module")
def cluster(homes: Path) -> Iterator[tuple[HostEach, Client]]:
    with hosts(homes, 3) as (cluster, client):
        CACHE.join(client)
        yield cluster, client


@pytest.fixture
def client(cluster: tuple[HostEach, Client]) -> Iterator[Client]:
    _, client = cluster
    yield client
    CACHE.set_budget(client, UNLIMITED_BYTES)
    CACHE.shrink_to(client, 0)


@pytest.fixture
def origin(tmp_path: Path) -> Location:
    (tmp_path / "weights.safetensors").write_bytes(CONTENT)
    return Location(f"file://{tmp_path}")


def manifest(origin: Location, revision: str) -> ChunkManifest:
    return cut(origin, revision, [ModelFile("weights.safetensors", len(CONTENT), f"etag:{revision}")], CHUNK_BYTES)


def bring(origin: Location, revision: str, folder: str = CACHE.folder) -> int:
    link = link_for(Path(folder).expanduser())
    assert link is not None, get_worker().plugins
    brought = link.bring(origin, manifest(origin, revision))
    assert (brought.path / "weights.safetensors").read_bytes() == CONTENT
    return brought.origin_bytes


def bring_to(client: Client, worker: str, origin: Location, revision: str) -> int:
    origin_bytes: int = client.submit(bring, origin, revision, workers=[worker], pure=False).result(PATIENCE_S)
    return origin_bytes


def workers_of(client: Client) -> list[str]:
    """Return a worker for each host, once all of them keep a part of the cache."""
    until(lambda: all(one.is_keeper for one in standings(client, CACHE.folder).values()))
    return sorted(one_a_host(standings(client, CACHE.folder)).values())


def whole(client: Client, worker: str) -> set[str]:
    return set(standings(client, CACHE.folder)[worker].whole)


def holders(client: Client, revision_of: ChunkManifest) -> int:
    """Return how many hosts have chunks of a manifest, as the registry knows it."""

    def count(ids: list[str], dask_scheduler: Any) -> int:
        swarm = dask_scheduler.plugins[stream_op(CACHE.channel)]._registry.swarm
        return len({name for chunk_id in ids for name in swarm.holders(chunk_id)})

    found: int = client.run_on_scheduler(count, ids=[chunk.chunk_id for chunk in revision_of.chunks()])
    return found


def test_a_shrunk_host_keeps_manifests_and_its_peers_know_that_the_bytes_are_gone(
    client: Client, origin: Location
) -> None:
    first, second, _ = workers_of(client)
    assert bring_to(client, first, origin, "shrunk") == len(CONTENT)
    assert set(CACHE.shrink_to(client, 0).values()) == {0}
    until(lambda: holders(client, manifest(origin, "shrunk")) == 0)
    kept = client.run(lambda: (Path("~/cache").expanduser() / "shrunk" / "manifest.json").exists(), workers=[first])
    assert kept == {first: True}
    assert bring_to(client, second, origin, "shrunk") == len(CONTENT)  # the first was not asked in vain
    assert set(CACHE.drop(client, "shrunk").values()) == {""}
    assert client.run(lambda: (Path("~/cache").expanduser() / "shrunk").exists(), workers=[first]) == {first: False}


def test_what_another_process_of_a_host_dropped_is_had_elsewhere_and_the_registry_learns_of_it(
    client: Client, origin: Location, homes: Path
) -> None:
    first, second, third = workers_of(client)
    assert bring_to(client, first, origin, "evicted") == len(CONTENT)
    root = Path(standings(client, CACHE.folder)[first].host.partition(":")[2])
    assert root.is_relative_to(homes)
    ChunkStore(root).shrink_to(0)  # as a command, or another cluster's worker on this host
    assert bring_to(client, second, origin, "evicted") == len(CONTENT)  # once, though the first had announced it
    assert bring_to(client, third, origin, "evicted") == 0
    until(lambda: holders(client, manifest(origin, "evicted")) == 2)


def test_what_another_process_of_a_host_brought_is_had_from_there(
    client: Client, origin: Location, homes: Path
) -> None:
    first, second, _ = workers_of(client)
    root = Path(standings(client, CACHE.folder)[first].host.partition(":")[2])
    with ChunkStore(root).begin(manifest(origin, "foreign")) as filling:
        for chunk in filling.lacking:
            content = CONTENT[chunk.start : chunk.stop]
            filling.put(chunk, content, hash_of(content))
        filling.publish()
    until(lambda: holders(client, manifest(origin, "foreign")) == 1)
    assert bring_to(client, second, origin, "foreign") == 0


def test_hosts_that_leave_hand_over_what_they_alone_have(client: Client, origin: Location, tmp_path: Path) -> None:
    first, second, third = workers_of(client)
    bring_to(client, first, origin, "alone")
    (tmp_path / "weights.safetensors").unlink()  # it cannot come from its origin any more
    assert CACHE.drain(client, [first, second]) == {"alone": ""}
    assert whole(client, third) == {"alone"}
    assert CACHE.drain(client, [first, second]) == {}  # the third has it as well
    assert CACHE.drain(client, [first, second, third], timeout_s=0.0).keys() == {"alone"}


def test_what_cannot_be_handed_over_is_told_with_the_reason(client: Client, origin: Location) -> None:
    first, *others = workers_of(client)
    bring_to(client, first, origin, "kept")
    assert "No host stays" in CACHE.drain(client, [first, *others])["kept"]
    assert "No time was left" in CACHE.drain(client, [first], timeout_s=0.0)["kept"]
    CACHE.set_budget(client, len(CONTENT) - 1)
    until(lambda: all(found == len(CONTENT) - 1 for found in budgets(client)))
    assert "may hold" in CACHE.drain(client, [first])["kept"]
    assert whole(client, first) == {"kept"}


def test_an_only_copy_is_not_evicted_for_another_one(client: Client, origin: Location) -> None:
    first, second, third = workers_of(client)
    for worker, revision in ((first, "leaving"), (third, "staying")):
        bring_to(client, worker, origin, revision)
    CACHE.set_budget(client, 2 * len(CONTENT) - 1)
    until(lambda: all(found == 2 * len(CONTENT) - 1 for found in budgets(client)))
    has, room = size(len(CONTENT)), size(len(CONTENT) - 1)
    assert (
        f"has {has}, but no host that stays may hold more than {room}"
        in CACHE.drain(client, [first, second])["leaving"]
    )
    assert whole(client, third) == {"staying"}


def budgets(client: Client) -> list[int | None]:
    return list(client.run(lambda: noted_budget(Path("~/cache").expanduser())).values())


def test_the_budget_set_last_holds_on_every_host_and_on_those_that_come_later(
    cluster: tuple[HostEach, Client], client: Client, origin: Location
) -> None:
    first, *_ = workers_of(client)
    SharedCache(CACHE.folder, 5 * len(CONTENT)).join(client)
    SharedCache(CACHE.folder, len(CONTENT)).join(client)
    SharedCache(CACHE.folder).join(client)  # has no say
    until(lambda: budgets(client) == [len(CONTENT)] * 3)
    bring_to(client, first, origin, "one")
    SharedCache(CACHE.folder, len(CONTENT) - 1).join(client)
    with pytest.raises(InvalidModel, match="may hold"):
        bring_to(client, first, origin, "two")
    cluster[0].scale(4)
    client.wait_for_workers(4)
    until(lambda: budgets(client) == [len(CONTENT) - 1] * 4)


def test_a_host_whose_cache_is_in_use_says_so_by_name_as_one_that_may_have_room_later(
    client: Client, origin: Location, tmp_path: Path
) -> None:
    first, *_ = workers_of(client)
    root = Path(standings(client, CACHE.folder)[first].host.partition(":")[2])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.safetensors").write_bytes(CONTENT[::-1])
    other = Location(f"file://{tmp_path}/other")
    CACHE.set_budget(client, len(CONTENT))
    bring_to(client, first, origin, "used")

    def bring_other() -> bool:
        link = link_for(root)
        assert link is not None
        return (link.bring(other, manifest(other, "other")).path / "weights.safetensors").exists()

    def brought() -> bool:
        found: bool = client.submit(bring_other, workers=[first], pure=False).result(PATIENCE_S)
        return found

    with (
        ChunkStore(root).pin("used"),
        pytest.raises(CacheFull, match=rf"^127\.0\.0\.1#\w+:{root}: The model of .* in use"),
    ):
        brought()
    assert brought()  # as the other one is let go


def test_one_host_that_cannot_be_looked_at_hides_no_other(client: Client, origin: Location) -> None:
    first, *others = workers_of(client)
    bring_to(client, others[0], origin, "seen")

    def spoil(says: str) -> None:
        def fail(*_: object) -> None:
            raise PermissionError(errno.EACCES, says)

        host_states.look = fail if says else look  # type: ignore[assignment]

    client.run(spoil, "Permission denied", workers=[first])
    try:
        states, problems = host_states.host_states(client, CACHE.folder)
    finally:
        client.run(spoil, "", workers=[first])
    assert len(states) == len(others)
    assert {one.revision for state in states.values() for one in state.store.revisions} == {"seen"}
    assert problems == {"127.0.0.1": "The cache folder ~/cache cannot be looked at (Permission denied)."}


def test_of_each_host_it_is_told_who_keeps_its_part_and_where_it_serves_chunks(client: Client) -> None:
    keepers = workers_of(client)
    states, problems = host_states.host_states(client, CACHE.folder)
    parts = [state.part for state in states.values()]
    assert (sorted(part.keeper for part in parts), problems) == (keepers, {})
    assert len({part.address for part in parts}) == len(keepers)
    for part in parts:
        with connect(*split_address(part.address), Deadline(PATIENCE_S)):
            pass  # somebody listens there


def test_caches_of_two_folders_have_nothing_of_each_other(client: Client, origin: Location) -> None:
    first, second, *_ = workers_of(client)
    other = SharedCache("~/cache-acme")
    other.join(client)
    bring_to(client, first, origin, "secret")
    foreign = client.submit(bring, origin, "secret", other.folder, workers=[second], pure=False)
    assert foreign.result(PATIENCE_S) == len(CONTENT)  # from the origin, though the first has it
    tokens = client.run(
        lambda: {link_for(Path(folder).expanduser())._settings.token for folder in ("~/cache", "~/cache-acme")}
    )
    assert all(len(both) == 2 for both in tokens.values())


def test_what_another_host_that_stays_has_too_makes_room_and_what_it_alone_has_does_not() -> None:
    standing = {
        "leaving": Standing("leaving", True, {"mine": 30}, 5),
        "full": Standing("full", True, {"common": 20, "alone": 50}, 5),
        "other": Standing("other", True, {"common": 20}, 1),
    }
    assert rooms(standing, {"leaving"}) == {"full": 25, "other": 21}

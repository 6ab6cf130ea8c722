"""Processes of one host of which one cannot keep its part of the cache, or leaves while it does."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client, LocalCluster
from distributed.security import Security
from prometheus_client import generate_latest

from pressrun.cache.chunk_manifest import cut
from pressrun.cache.sources import Limits
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFile
from tests.awaiting import PATIENCE_S, until
from tests.home import free_port
from tests.workers.cache.scraping import values
from tests.workers.cache.stored_models import CHUNK_BYTES
from workers.cache import chunk_server, keeper
from workers.cache.channel import Budget, packed
from workers.cache.folder_notes import noted_budget
from workers.cache.joining import SharedCache
from workers.cache.links import LINKS, link_for
from workers.cache.peer_ports import PORT_VARIABLE
from workers.cache.settings import CacheSettings
from workers.cache.upkeep import standings
from workers.cache.worker_part import CacheLink

CONTENT = random.Random(6).randbytes(6 * CHUNK_BYTES)  # the same in every process


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two worker processes of one host."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def origin(tmp_path: Path) -> Location:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.safetensors").write_bytes(CONTENT)
    return Location(f"file://{tmp_path / 'model'}")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


def bring(origin: Location, folder: str) -> bytes:
    link = link_for(Path(folder))
    assert link is not None
    files = [ModelFile("weights.safetensors", len(CONTENT), "etag:keepers")]
    return (link.bring(origin, cut(origin, "revision", files, CHUNK_BYTES)).path / "weights.safetensors").read_bytes()


def workers_of(client: Client) -> list[str]:
    return sorted(client.scheduler_info(n_workers=-1)["workers"])


def keepers_of(client: Client, folder: str) -> list[str]:
    return [worker for worker, standing in standings(client, folder).items() if standing.is_keeper]


def shown(folder: str) -> bool:
    """Return whether this process's metrics tell how a cache stands."""
    return ("pressrun_cache_held_bytes", folder) in values(generate_latest().decode())


def cannot_listen(cannot: bool) -> None:
    def listen(host: str, wait_s: float, port: int) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    chunk_server.listen = listen if cannot else listen_as_ever  # type: ignore[assignment]


listen_as_ever = chunk_server.listen


def test_another_process_of_the_host_keeps_its_part_if_one_cannot(
    client: Client, origin: Location, folder: str
) -> None:
    unfit, fit = workers_of(client)
    client.run(cannot_listen, True, workers=[unfit])
    SharedCache(folder).join(client)
    futures = [client.submit(bring, origin, folder, workers=[worker], pure=False) for worker in (unfit, fit)]
    assert client.gather(futures) == [CONTENT, CONTENT]
    assert keepers_of(client, folder) == [fit]


def test_where_no_process_can_keep_the_hosts_part_who_asks_is_told_why(
    client: Client, origin: Location, folder: str
) -> None:
    client.run(cannot_listen, True)
    SharedCache(folder).join(client)
    for worker in workers_of(client):
        with pytest.raises(InvalidModel, match=r"can keep its part.*Too many open files"):
            client.submit(bring, origin, folder, workers=[worker], pure=False).result(PATIENCE_S)
    client.run(cannot_listen, False)


def test_behind_a_translated_address_a_keeper_listens_where_its_worker_does(tmp_path: Path) -> None:
    link = CacheLink(CacheSettings("channel", str(tmp_path), bytes(32), Limits()))
    link._store = SimpleNamespace(find=None)  # type: ignore[assignment]
    link._worker = SimpleNamespace(security=Security(), listen_address="tcp://127.0.0.1:8788")
    with link._listening("192.0.2.7") as server:
        assert server.address == f"127.0.0.1:{server.port}"


def test_a_host_that_knows_a_budget_keeps_to_what_it_has_noted_since(tmp_path: Path) -> None:
    link = CacheLink(CacheSettings("channel", str(tmp_path), bytes(32), Limits()))
    link._root = tmp_path
    for told, noted in ((Budget(10, is_known=True), 10), (Budget(20, is_known=True), 10), (Budget(30), 30)):
        link._hear(packed("channel", told)["packed"])
        assert noted_budget(tmp_path) == noted


def test_workers_in_one_process_share_the_cache_until_the_last_of_them_leaves(folder: str) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        SharedCache(folder).join(client)
        for worker in workers_of(client):
            assert link_for(Path(folder)) is not None
            until(lambda: shown(folder))
            client.retire_workers([worker])
            until(lambda worker=worker: worker not in workers_of(client))
        until(lambda: link_for(Path(folder)) is None)
        assert not shown(folder)  # what a process keeps no more is another's to show


def test_the_next_keeper_can_have_the_port_of_the_last(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cannot: list[Exception] = []
    monkeypatch.setattr(CacheLink, "_cannot_keep", lambda link, error: cannot.append(error))
    monkeypatch.setenv(PORT_VARIABLE, str(free_port()))
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        SharedCache(folder).join(client)
        until(lambda: any(link.is_keeper for link in LINKS))
        (first,) = (link for link in LINKS if link.is_keeper)
        client.retire_workers([first._worker.address])
        until(lambda: cannot or any(link.is_keeper for link in LINKS if link is not first))
        assert not cannot


def read_slowly(seconds: float) -> None:
    """Have this worker take its time for each chunk from an origin."""

    class Slow:
        def read(self, path: str, start: int, digest: str, into: memoryview) -> None:
            time.sleep(seconds)
            into[:] = CONTENT[start : start + len(into)]

    keeper.open_origin = lambda location, single_file: Slow()  # type: ignore[assignment,return-value]


def has_begun(folder: str) -> bool:
    return any(Path(folder).glob("revision/*.partial"))


def test_who_waits_has_the_model_though_the_keeper_is_retired_meanwhile(
    client: Client, origin: Location, folder: str
) -> None:
    client.run(cannot_listen, False)
    SharedCache(folder).join(client)
    until(lambda: keepers_of(client, folder))
    (leaving,) = keepers_of(client, folder)
    (staying,) = set(workers_of(client)) - {leaving}
    client.run(read_slowly, 0.5, workers=[leaving])
    future = client.submit(bring, origin, folder, workers=[staying], pure=False)
    until(lambda: has_begun(folder))
    client.retire_workers([leaving])
    assert future.result(PATIENCE_S) == CONTENT
    assert keepers_of(client, folder) == [staying]

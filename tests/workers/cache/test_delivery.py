"""Models brought to real hosts of a cluster, and the account of how they came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from distributed import Client

from pressrun.cache.traffic_wording import headline
from pressrun.errors import StageFailed
from pressrun.location import Location
from pressrun.models.any_folder import read_any
from pressrun.release.release import Release, ReleaseOrder
from pressrun.request import REQUEST_SCHEMA
from tests import runs
from tests.s3_server import S3Server
from tests.workers.cache.hosts import hosts
from tests.workers.cache.scraping import values
from workers import waiting_room
from workers.cache.folder_notes import known_model
from workers.cache.joining import SharedCache
from workers.delivery import Delivery
from workers.fleet import JoinedFleet
from workers.releasing import preload

CACHE = SharedCache("~/models")
HOSTS = 4
ZONES = ("north", "south")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(scope="module")
def client(homes: Path) -> Iterator[Client]:
    with hosts(homes, HOSTS, ZONES) as (_, client):
        yield client


@pytest.fixture(scope="module")
def model(s3_server: S3Server) -> Location:
    url = f"{s3_server.make_bucket()}/shapes"
    runs.upload(s3_server, runs.MODEL, url)
    return Location(url, s3_server.storage_options)


def scrape(worker: dict[str, Any]) -> dict[tuple[str, str], float]:
    url = f"http://{worker['host']}:{worker['services']['dashboard']}/metrics"
    return values(httpx.get(url, trust_env=False).text)


def test_the_account_of_a_delivery_is_its_own_and_adds_up(client: Client, model: Location, homes: Path) -> None:
    facts = read_any(model)
    size_bytes = sum(file.size_bytes for file in facts.files)
    first = Delivery(client, CACHE)
    assert first.bring([(model, facts)]) == HOSTS
    report = first.traffic()
    assert len(report.hosts) == HOSTS
    assert {host.zone for host in report.hosts} == set(ZONES)
    assert [host.all_bytes for host in report.hosts] == [size_bytes] * HOSTS
    assert report.total.origin_bytes == report.content_bytes
    assert report.total.other_zone_bytes <= report.content_bytes  # a zone's copy comes over its border once
    assert report.total.sent_bytes == report.total.same_zone_bytes + report.total.other_zone_bytes > 0
    assert report.origin_copies == 1.0
    assert report.efficiency is not None
    assert 0 < report.efficiency <= 1
    assert all(host.waiting_chunks == 0 for host in report.hosts)
    known = known_model(homes / "host-0" / "models", facts.revision)
    assert (known.name, known.origin) == ("shapes", model.url)

    scraped = [scrape(worker) for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    assert sum(told["pressrun_cache_bytes_total", "origin"] for told in scraped) == report.total.origin_bytes
    assert sum(told["pressrun_cache_sent_bytes_total", CACHE.folder] for told in scraped) >= report.total.sent_bytes
    assert [told["pressrun_cache_held_bytes", CACHE.folder] for told in scraped] == [size_bytes] * HOSTS
    assert [told["pressrun_cache_waiting_chunks", CACHE.folder] for told in scraped] == [0] * HOSTS

    again = Delivery(client, CACHE)
    again.bring([(model, facts)])
    assert again.traffic().total.disk_bytes == HOSTS * size_bytes
    assert again.traffic().hit_ratio == 1.0
    assert headline(again.traffic()).endswith(f"on {HOSTS} hosts, all there before")


def test_nothing_is_brought_elsewhere_for_a_host_whose_worker_is_given_no_tasks(
    client: Client, model: Location, homes: Path
) -> None:
    facts, folders = read_any(model), client.run(lambda: Path("~/waiting").expanduser())
    waiting = min(folders)
    waiting_room.enter(client, "another run", [waiting])
    try:
        delivery = Delivery(client, SharedCache("~/waiting"))
        assert delivery.bring([(model, facts)]) == HOSTS - 1
        assert delivery.traffic().total.disk_bytes == 0
    finally:
        waiting_room.leave(client, "another run")
    has_it = {at: (folder / facts.revision / "complete.json").exists() for at, folder in folders.items()}
    assert has_it == {at: at != waiting for at in folders}


def test_a_folder_that_no_worker_can_use_is_told_with_the_reason(client: Client, model: Location, homes: Path) -> None:
    for number in range(HOSTS):
        (homes / f"host-{number}" / "taken").touch()
    delivery = Delivery(client, SharedCache("~/taken/models"))
    with pytest.raises(StageFailed, match=r"None of 4 workers could .* tcp://\S+: \[Errno 20\] Not a directory"):
        delivery.bring([(model, read_any(model))])
    (homes / "host-0" / "taken").unlink()
    assert Delivery(client, SharedCache("~/taken/models")).bring([(model, read_any(model))]) == 1  # freed meanwhile


def test_a_host_that_cannot_join_is_named_and_the_others_are_brought_it(
    client: Client, model: Location, homes: Path
) -> None:
    (homes / "host-1" / "barred").touch()
    barred = next(at for at, home in client.run(Path.home).items() if home == homes / "host-1")
    folder, facts, none = "~/barred/models", read_any(model), REQUEST_SCHEMA.empty_table()
    order = ReleaseOrder(model, Location(str(homes / "golden")), cache_folder=folder)
    fleet = JoinedFleet(client.scheduler.address)
    try:
        with pytest.raises(StageFailed, match=rf"cannot join the cache {folder}.* {barred}: .*Not a directory"):
            preload(Release("release", order, facts, none, none), fleet)
    finally:
        fleet.close()
    assert not list(homes.glob(f"*/barred/models/{facts.revision}"))  # else some hosts have what a release refused
    delivery = Delivery(client, SharedCache(folder))
    assert delivery.bring([(model, facts)]) == HOSTS - 1
    ((worker, reason),) = delivery.absent().items()
    assert (worker, "Not a directory" in reason) == (barred, True)
    (homes / "host-1" / "barred").unlink()
    assert Delivery(client, SharedCache(folder)).absent() == {}

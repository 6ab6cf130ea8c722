"""Real Dask workers, each a host of its own, that fill from one another: the bucket gives each byte once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, get_worker

from pressrun.cache.chunk_manifest import cut
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFile
from tests.s3_server import S3Server
from tests.workers.cache.hosts import HostEach, hosts
from workers.cache.joining import SharedCache
from workers.cache.links import link_for

CHUNK = 64 * 1024
HOSTS = 4
CACHE = SharedCache("~/cache")
CONTENTS = {"a/weights.safetensors": os.urandom(20 * CHUNK + 17), "config.json": b"{}", "empty.json": b""}
TOTAL = sum(map(len, CONTENTS.values()))

Cluster = tuple[HostEach, Client]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with hosts(tmp_path_factory.mktemp("hosts"), HOSTS) as (cluster, client):
        CACHE.join(client)
        yield cluster, client


@pytest.fixture
def bucket(s3_server: S3Server) -> Location:
    location = Location(f"{s3_server.make_bucket()}/model", s3_server.storage_options)
    filesystem, root = location.open_filesystem()
    filesystem.pipe({f"{root}/{path}": content for path, content in CONTENTS.items()})
    return location


def facts_of(location: Location) -> list[ModelFile]:
    filesystem, root = location.open_filesystem()
    told = {path: filesystem.info(f"{root}/{path}") for path in CONTENTS}
    return [ModelFile(path, len(CONTENTS[path]), f"etag:{info['ETag'].strip(chr(34))}") for path, info in told.items()]


def bring(location: Location, files: list[ModelFile], revision: str) -> tuple[dict[str, bytes], int]:
    link = link_for(Path("~/cache").expanduser())
    assert link is not None, get_worker().plugins
    brought = link.bring(location, cut(location, revision, files, CHUNK))
    return {file.path: (brought.path / file.path).read_bytes() for file in files}, brought.origin_bytes


def bring_to_all(client: Client, location: Location, revision: str) -> dict[str, tuple[dict[str, bytes], int]]:
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    futures = [
        client.submit(bring, location, facts_of(location), revision, workers=[worker], pure=False) for worker in workers
    ]
    return dict(zip(workers, client.gather(futures), strict=True))


def test_every_host_has_the_model_and_the_bucket_gave_each_byte_once(cluster: Cluster, bucket: Location) -> None:
    brought = bring_to_all(cluster[1], bucket, "once")
    assert all(found == CONTENTS for found, _ in brought.values())
    assert sum(origin_bytes for _, origin_bytes in brought.values()) == TOTAL
    again = bring_to_all(cluster[1], bucket, "once")
    assert [origin_bytes for _, origin_bytes in again.values()] == [0] * HOSTS


def test_a_revision_of_the_same_contents_elsewhere_is_not_read_again(
    cluster: Cluster, s3_server: S3Server, bucket: Location
) -> None:
    bring_to_all(cluster[1], bucket, "first")
    brought = bring_to_all(cluster[1], Location(bucket.url, bucket.options), "second")
    assert [(found, origin_bytes) for found, origin_bytes in brought.values()] == [(CONTENTS, 0)] * HOSTS


def test_a_host_that_joins_later_reads_nothing_from_the_bucket(
    s3_server: S3Server, bucket: Location, tmp_path: Path
) -> None:
    with hosts(tmp_path, 1) as (cluster, client):
        CACHE.join(client)
        bring_to_all(client, bucket, "late")
        cluster.scale(2)
        client.wait_for_workers(2)
        late = bring_to_all(client, bucket, "late")
        assert all(found == CONTENTS for found, _ in late.values())
        assert [origin_bytes for _, origin_bytes in late.values()] == [0, 0]


def test_what_the_bucket_has_no_more_is_told_to_every_host(cluster: Cluster, bucket: Location) -> None:
    filesystem, root = bucket.open_filesystem()
    filesystem.pipe(f"{root}/a/weights.safetensors", os.urandom(len(CONTENTS["a/weights.safetensors"])))
    files = facts_of(bucket)
    filesystem.rm(f"{root}/a/weights.safetensors")
    workers = list(cluster[1].scheduler_info(n_workers=-1)["workers"])
    futures = [cluster[1].submit(bring, bucket, files, "gone", workers=[worker], pure=False) for worker in workers]
    for future in futures:
        with pytest.raises(InvalidModel, match="weights"):
            future.result(timeout=60)


def test_a_host_killed_in_mid_load_keeps_nobody_waiting(s3_server: S3Server, bucket: Location, tmp_path: Path) -> None:
    with hosts(tmp_path, 3) as (_, client):
        CACHE.join(client)
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        futures = [
            client.submit(bring, bucket, facts_of(bucket), "killed", workers=[worker], pure=False) for worker in workers
        ]
        pids = client.run(os.getpid)
        os.kill(pids[workers[0]], signal.SIGKILL)
        for future in futures[1:]:
            found, _ = future.result(timeout=60)
            assert found == CONTENTS

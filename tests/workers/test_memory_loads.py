"""What workers load from their host's memory stands in the run's account and in their own metrics."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import httpx
import pytest

from pressrun.run import Run
from tests import runs
from tests.home import HOME
from tests.s3_server import S3Server
from tests.workers.cache.scraping import values
from tests.workers.conftest import OpenedRun
from workers.direct_calls import call_each
from workers.engines.loading import load_renderer
from workers.fleet import LocalFleet
from workers.order import PrintOrder
from workers.weights.run_pool import empty_pool

Opened = Callable[..., OpenedRun]
POOL = {"memory": "200MB"}


@pytest.fixture
def empty_cache() -> None:
    """Drop the models that earlier tests brought to this host."""
    shutil.rmtree(HOME / ".cache" / "pressrun" / "models", ignore_errors=True)


@pytest.fixture
def _free_pool() -> Iterator[None]:
    yield
    empty_pool()


def metrics_urls(fleet: LocalFleet) -> dict[str, str]:
    workers = fleet.open().scheduler_info(n_workers=-1)["workers"]
    return {
        address: f"http://{worker['host']}:{worker['services']['dashboard']}/metrics"
        for address, worker in workers.items()
    }


def load_twice(fleet: LocalFleet, order: PrintOrder) -> str:
    """Load two times on one worker, whose models the pool outlives, and return the worker's address."""
    address = next(iter(metrics_urls(fleet)))
    for _ in range(2):
        # By value: a worker that imported this module would have the tests' own home.
        fleet.open().submit(lambda: load_renderer(order).close(), workers=[address], pure=False).result()
    return address


def load_directly(fleet: LocalFleet, order: PrintOrder) -> None:
    """Load on the same worker beside its tasks, as one that joins in mid-run is warmed."""
    call_each(fleet.open(), lambda: load_renderer(order).close(), {next(iter(metrics_urls(fleet))): ()})


def from_memory(url: str) -> float:
    return values(httpx.get(url, trust_env=False).text).get(("pressrun_cache_bytes_total", "memory"), 0)


@pytest.mark.parametrize("runtime", ["peer", "none"])
@pytest.mark.usefixtures("_free_pool", "empty_cache")
def test_a_second_loading_counts_as_from_memory_beside_what_came_to_the_host(
    fleet: LocalFleet, opened: Opened, s3_server: S3Server, runtime: str
) -> None:
    bucket = s3_server.make_bucket()
    runs.upload(s3_server, runs.MODEL, f"{bucket}/shapes")
    store, cache = runs.model_store(s3_server, bucket), {"runtime": runtime, **POOL}
    run, order = opened(runs.prompts(2), engine="diffusers", model="shapes", model_store=store, cache=cache)
    urls = metrics_urls(fleet)
    before = {address: from_memory(url) for address, url in urls.items()}
    loader = load_twice(fleet, order)
    weights_bytes = sum(file.stat().st_size for file in runs.MODEL.rglob("*.safetensors"))
    runs.wait_until(
        lambda: memory_bytes(run) == weights_bytes, f"{weights_bytes} from memory", lambda: memory_bytes(run)
    )
    run.ledger.take_traffic()
    told = run.ledger.traffic
    assert told is not None
    assert told.content_bytes == sum(file.size_bytes for file in order.facts.files)
    (host,) = [host for host in told.hosts if host.memory_bytes]
    assert host.memory_bytes == weights_bytes
    assert host.wire_bytes > 0
    gained = {address: from_memory(url) - before[address] for address, url in urls.items()}
    assert gained == {address: weights_bytes if address == loader else 0 for address in urls}


@pytest.mark.usefixtures("_free_pool")
def test_a_local_models_loads_from_memory_count_and_a_run_without_a_pool_has_no_account(
    fleet: LocalFleet, opened: Opened
) -> None:
    run, order = opened(runs.prompts(2), engine="diffusers", cache=POOL)
    run.ledger.take_traffic()
    assert run.ledger.traffic is None
    load_twice(fleet, order)
    runs.wait_until(lambda: memory_bytes(run) > 0, "bytes from memory")
    once_bytes = memory_bytes(run)
    load_directly(fleet, order)
    runs.wait_until(lambda: memory_bytes(run) == 2 * once_bytes, "what was loaded beside tasks")
    run.close()
    plain, _ = opened(runs.prompts(2), engine="diffusers")
    plain.ledger.take_traffic()
    assert plain.ledger.traffic is None


def memory_bytes(run: Run) -> int:
    assert run.ledger.read_traffic is not None
    return run.ledger.read_traffic().total.memory_bytes

"""A run's models stay on a host's disk from its first task there until its end, however that comes."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from distributed import Client, get_worker

from pressrun.cache.options import CacheOptions
from pressrun.errors import CacheFull, CacheInUse
from pressrun.location import Location
from pressrun.models.adapter_file import read_adapter
from pressrun.models.diffusers_folder import read_model
from tests import runs
from tests.adapters import write_adapter
from tests.workers.cache.stored_models import manifest_of, model, store_model
from workers.cache.chunk_store import ChunkStore
from workers.cache.folder_notes import forget_model
from workers.cache.users import users_of
from workers.fleet import LocalFleet
from workers.model_cache import ensure_local
from workers.model_host import loaded_keys
from workers.order import PrintOrder
from workers.printing import lend_renderer
from workers.run_end import leave_workers
from workers.run_uses import RunUses, run_uses
from workers.weights import run_pool

URL = "memory://used/shapes"
SIZE = manifest_of(model(0), "any").size_bytes


@pytest.fixture
def order(tmp_path: Path) -> Iterator[PrintOrder]:
    """Give an order whose model and adapter come from elsewhere; the engine needs neither."""
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(runs.MODEL), "/used/shapes", recursive=True)
    filesystem.put(str(write_adapter(tmp_path / "ink.safetensors", runs.MODEL)), "/used/ink.safetensors")
    location = Location(URL)
    yield PrintOrder(
        run_id="run-1",
        collection=Location(str(tmp_path / "out")),
        model=location,
        facts=read_model(location),
        embedder=None,
        embedder_facts=None,
        embedding_size=0,
        engine="null",
        cache_folder=str(tmp_path / "cache"),
        adapters=read_adapter("ink", Location("memory://used/ink.safetensors"))[:1],
    )
    filesystem.rm("/used", recursive=True)


@pytest.fixture
def store(order: PrintOrder) -> ChunkStore:
    """Give the host's cache with the order's model and adapter, or what stands for them."""
    store = ChunkStore(Path(order.cache_folder))
    store_model(store, model(0), order.facts.revision)
    store_model(store, model(1), order.adapters[0].revision)
    return store


def held(store: ChunkStore) -> set[str]:
    return {state.revision for state in store.status().revisions}


def draw(order: PrintOrder) -> str:
    with lend_renderer(order):
        return str(get_worker().address)


def use_memory(folder: Path) -> None:
    run_pool.MEMORY = folder


def die(order: PrintOrder) -> None:
    if run_uses().runs():
        os.kill(os.getpid(), signal.SIGKILL)


def test_neither_a_drop_nor_another_models_need_takes_what_a_run_draws_with(
    fleet: LocalFleet, store: ChunkStore, order: PrintOrder
) -> None:
    client, used = fleet.open(), {order.facts.revision, order.adapters[0].revision}
    client.submit(draw, order, pure=False).result()  # and no task of the run is under way any more
    with pytest.raises(CacheInUse, match="is being used by run run-1 in process"):
        store.drop(order.facts.revision)
    assert store.shrink_to(0) == 2 * SIZE
    with pytest.raises(CacheFull, match="in use"):
        store_model(ChunkStore(store.root, 2 * SIZE), model(2), "new")
    assert held(store) == used

    leave_workers(fleet, order.run_id)
    assert store.shrink_to(0) == 0  # though the workers keep the renderer warm
    assert not any(users_of(store.root, revision) for revision in used)


def test_what_a_killed_worker_used_is_free(fleet: LocalFleet, store: ChunkStore, order: PrintOrder) -> None:
    client: Client = fleet.open()
    address = client.submit(draw, order, pure=False).result()
    client.run(die, order, workers=[address], on_error="ignore")
    runs.wait_until(lambda: store.shrink_to(0) == 0, "the killed worker's pins are gone")
    client.wait_for_workers(2)


def test_weights_in_memory_go_when_the_last_run_that_wants_them_ends_though_its_workers_stay(
    fleet: LocalFleet, order: PrintOrder, tmp_path: Path
) -> None:
    client, memory = fleet.open(), tmp_path / "memory"
    memory.mkdir()
    client.run(use_memory, memory)
    worker = min(client.nthreads())
    model = Location(str(runs.MODEL))
    cache = CacheOptions(memory_bytes=2**30)
    first = replace(order, engine="diffusers", model=model, facts=read_model(model), adapters=(), cache=cache)
    for one in (first, replace(first, run_id="run-2")):
        client.submit(draw, one, workers=[worker], pure=False).result()
    assert list(memory.rglob("*.weights"))
    leave_workers(fleet, "run-1")
    assert list(memory.rglob("*.weights"))
    leave_workers(fleet, "run-2")
    runs.wait_until(lambda: not list(memory.rglob("*.weights")), "the pool is empty")
    assert not any(key.startswith("diffusers/") for keys in client.run(loaded_keys).values() for key in keys)


def test_a_run_whose_other_workers_load_and_measure_for_long_keeps_its_models(
    store: ChunkStore, order: PrintOrder
) -> None:
    now_s = 0.0
    uses = RunUses(clock=lambda: now_s)
    with uses.working(order, "key"):
        pass
    now_s = 20 * 60.0
    with uses.working(replace(order, run_id="run-2"), "key"):
        pass
    assert uses.runs() == ("run-1", "run-2")
    for run_id in uses.runs():
        uses.end(run_id)
    assert store.shrink_to(0) == 0


def test_where_a_model_has_filled_the_disk_a_run_draws_with_it_though_no_note_of_it_fits(order: PrintOrder) -> None:
    uses, store = RunUses(), ChunkStore(Path(order.cache_folder))
    ensure_local(order.model, order.facts, store.root)
    forget_model(store.root, order.facts.revision)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # no file takes another byte
    try:
        found = ensure_local(order.model, order.facts, store.root)
        with uses.working(order, "key"):
            left_bytes = store.shrink_to(0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    uses.end(order.run_id)
    assert found.path.is_dir()
    assert left_bytes == sum(file.size_bytes for file in order.facts.files)  # the pins hold all the same


def test_a_run_that_was_killed_keeps_its_models_for_a_while_only(store: ChunkStore, order: PrintOrder) -> None:
    uses, other = RunUses(patience_s=0.2), replace(order, run_id="run-2", adapters=())
    with uses.working(other, "key"):
        with uses.working(order, "key"):
            pass
        runs.wait_until(lambda: uses.runs() == ("run-2",), "the silent run is ended, and not the one at work")
        assert store.shrink_to(0) == SIZE
        uses.end("run-2")
        assert held(store) == {order.facts.revision}  # its task has not ended
    assert store.shrink_to(0) == 0


def test_what_a_run_begins_after_it_was_told_ended_keeps_nothing(store: ChunkStore, order: PrintOrder) -> None:
    uses = RunUses()
    uses.end(order.run_id)  # it has overtaken a joiner's warming
    with uses.working(order, "key"):
        assert store.shrink_to(0) == 2 * SIZE
    assert uses.runs() == ()
    assert store.shrink_to(0) == 0

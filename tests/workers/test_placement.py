"""Where batches go when workers differ in what they hold, on real workers."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Event, LocalCluster

from pressrun.batch import Batch
from pressrun.batch_sizes import BatchSizes
from pressrun.plan import cut_batches
from pressrun.run import Run
from tests import engines, runs
from tests.awaiting import PATIENCE_S, until
from tests.workers.conftest import OpenedRun
from workers.fleet import LocalFleet
from workers.holdings import Holdings
from workers.model_host import loaded_keys, model_host
from workers.order import PrintOrder
from workers.placement import Placement, set_free
from workers.printing import renderer_key
from workers.warming import warm_worker
from workers.window import Window

Opened = Callable[..., OpenedRun]


@pytest.fixture(autouse=True)
def _cold(fleet: LocalFleet) -> Iterator[None]:
    """Have no worker hold a model, or be limited in how many."""
    fleet.open().run(have_room, None)
    yield
    fleet.open().run(have_room, None)


def have_room(room_bytes: int | None) -> None:
    host = model_host()
    host.close()
    host.budget_bytes = room_bytes


def batches(run: Run, size: int = 2) -> list[Batch]:
    return list(cut_batches(run.plan.todo, BatchSizes({(64, 64): size, (32, 32): size})))


def addresses(fleet: LocalFleet) -> list[str]:
    return sorted(fleet.open().nthreads())


def warm(fleet: LocalFleet, address: str, order: PrintOrder, batch: Batch) -> None:
    fleet.open().submit(warm_worker, order, batch, workers=[address], pure=False).result()


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    """Give two models that differ in one file."""
    folders = {name: tmp_path / name for name in ("ink", "photo")}
    for folder in folders.values():
        shutil.copytree(runs.MODEL, folder)
    settings = folders["photo"] / "scheduler" / "scheduler_config.json"
    settings.write_text(settings.read_text() + " ")
    return {name: str(folder) for name, folder in folders.items()}


@pytest.mark.parametrize("affinity", ["soft", "hard"])
def test_batches_of_two_models_go_to_the_workers_that_hold_theirs(
    affinity: str, fleet: LocalFleet, opened: Opened, models: dict[str, str], tmp_path: Path
) -> None:
    rows = [{"prompt": f"{number}", "model": name} for number in range(20) for name in models]
    some = {"model": "ink", "models": models, "engine": "tests.engines:loading", "cache": {"affinity": affinity}}
    run, order = opened(rows, **some)
    fleet.open().run(have_room, run.facts.weight_bytes)
    by_model = {name: [one for one in batches(run, 1) if one.shared("model") == name] for name in models}
    for address, (name, mine) in zip(addresses(fleet), by_model.items(), strict=True):
        warm(fleet, address, order.of(name), mine[0])
    mixed = [batch for pair in zip(*by_model.values(), strict=True) for batch in pair]
    receipts = list(Window(fleet.open(), order, in_flight=6).receipts(iter(mixed)))
    assert sum(receipt.rows.num_rows for receipt in receipts) == 40
    loads = engines.loaded(tmp_path / "out")
    if affinity == "hard":
        assert sorted(loads) == [["ink"], ["photo"]]
    else:  # who has nothing to do may take what is another's
        assert sum(map(len, loads)) <= 6


def test_where_all_workers_hold_the_model_nobody_is_named(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(4), engine="tests.engines:slow", cache={"affinity": "hard"})
    first, second = batches(run)
    for address in addresses(fleet):
        warm(fleet, address, order, first)
    future = Placement(fleet.open(), order, 3).submit(second, "print-unnamed")
    assert named_workers(fleet.open(), "print-unnamed") == set()
    assert future.result().in_memory == (renderer_key(order),)


def named_workers(client: Client, key: str) -> set[str]:
    """Return the workers to which the scheduler sends a task, once the task is there."""
    until(lambda: client.run_on_scheduler(state, key))
    return set(client.run_on_scheduler(restrictions, key))


def restrictions(key: str, dask_scheduler: Any = None) -> list[str]:
    return list(dask_scheduler.tasks[key].worker_restrictions or ())


def test_a_worker_that_holds_the_model_of_another_run_alone_is_warmed_before_it_gets_batches(
    fleet: LocalFleet, opened: Opened
) -> None:
    run, order = opened(runs.prompts(2))
    (batch,) = batches(run)
    first, second = addresses(fleet)
    warm(fleet, first, order, batch)
    warm(fleet, second, replace(order, facts=replace(order.facts, revision="another")), batch)
    with Placement(fleet.open(), order, 3).at_work():
        assert [status(fleet, worker) for worker in (first, second)] == ["running", "paused"]
    until(lambda: status(fleet, second) == "running")


def test_who_joins_before_a_batch_was_submitted_is_warmed_by_the_sample(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(2))
    (batch,) = batches(run)
    first, second = addresses(fleet)
    warm(fleet, first, order, batch)
    with Placement(fleet.open(), order, 3).at_work(batch):
        until(lambda: status(fleet, second) == "running")
        assert renderer_key(order) in fleet.open().run(loaded_keys)[second]


def status(fleet: LocalFleet, worker: str) -> str:
    return str(fleet.open().scheduler_info(n_workers=-1)["workers"][worker]["status"])


def test_a_worker_tells_its_zone_and_what_it_holds_and_receipts_tell_of_changes(
    fleet: LocalFleet, opened: Opened, tmp_path: Path
) -> None:
    run, order = opened(runs.prompts(2))
    (batch,) = batches(run)
    first, second = addresses(fleet)
    warm(fleet, first, order, batch)
    (tmp_path / "cache" / "0123").mkdir(parents=True)
    (tmp_path / "cache" / "4567").mkdir()
    (tmp_path / "cache" / "0123" / "complete.json").touch()
    holdings = Holdings(fleet.open(), str(tmp_path / "cache"))
    known = holdings.known()
    assert [known[one].in_memory for one in (first, second)] == [{renderer_key(order)}, set()]
    assert {held.on_disk for held in known.values()} == {frozenset({"0123"})}
    (tmp_path / "cache" / "4567" / "complete.json").touch()
    holdings.note(second, [renderer_key(order)])
    assert holdings.known()[second].in_memory == {renderer_key(order)}
    fleet.open().run(have_room, None)
    until(lambda: {held.on_disk for held in holdings.known().values()} == {frozenset({"0123", "4567"})})
    assert {held.in_memory for held in holdings.known().values()} == {frozenset()}


@pytest.mark.parametrize("affinity", ["soft", "hard"])
def test_batches_for_a_worker_that_dies_with_all_others_are_printed_by_those_that_come(
    affinity: str, fleet: LocalFleet, opened: Opened
) -> None:
    run, order = opened(runs.prompts(12), engine="tests.engines:slow", cache={"affinity": affinity})
    todo, named = batches(run), addresses(fleet)[0]
    warm(fleet, named, order, todo[0])
    receipts = Window(fleet.open(), order, in_flight=6).receipts(iter(todo))
    first = next(receipts)
    before = fleet.open().run(os.getpid)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    rest = list(receipts)
    assert sum(receipt.rows.num_rows for receipt in [first, *rest]) == 12
    assert {receipt.address for receipt in rest} - before.keys()
    fleet.open().wait_for_workers(2, timeout=60)


def test_batches_that_wait_too_long_for_their_worker_go_to_another(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(4), cache={"affinity": "hard"})
    todo, client, (busy, idle) = batches(run), fleet.open(), addresses(fleet)
    warm(fleet, busy, order, todo[0])
    done = Event(f"done-{run.run_id}", client=client)
    blockers = [client.submit(wait_for, done.name, workers=[busy], pure=False) for _ in range(2)]
    try:
        placement = Placement(client, order, 3, pin_s=0.2)
        futures = [placement.submit(batch, f"print-{run.run_id}-{number}") for number, batch in enumerate(todo)]
        assert [named_workers(client, future.key) for future in futures] == [{busy}, {busy}]
        until(lambda: (placement.free_overdue(), all(future.done() for future in futures))[1])
        assert {future.result().address for future in futures} == {idle}
    finally:
        done.set()
        client.gather(blockers)


def wait_for(event: str) -> None:
    Event(event).wait(PATIENCE_S)


@pytest.mark.parametrize("wish", [True, False])
def test_a_task_whose_workers_never_come_back_runs_once_it_is_set_free(wish: bool) -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        future = client.submit(len, "ab", key="bound", workers=["tcp://127.0.0.1:9"], allow_other_workers=wish)
        until(lambda: client.run_on_scheduler(state, "bound") == "no-worker")
        cluster.scale(1)
        client.wait_for_workers(1)
        assert client.run_on_scheduler(state, "bound") == "no-worker"  # a wish, too: this is Dask's
        assert client.run_on_scheduler(set_free, ["bound", "unknown"]) == ["bound"]
        assert future.result(timeout=PATIENCE_S) == 2


def state(key: str, dask_scheduler: Any = None) -> str:
    task = dask_scheduler.tasks.get(key)
    return task.state if task else ""

"""Workers that join while a run draws, on real workers: warm first, then at work; or told by name."""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from pressrun.batch import Batch
from pressrun.batch_sizes import BatchSizes
from pressrun.errors import StageFailed
from pressrun.plan import cut_batches
from pressrun.run import Run
from tests import engines, runs
from tests.awaiting import until
from tests.workers.conftest import OpenedRun
from tests.workers.counted import Counted
from workers import joiners, waiting_room
from workers.fleet import LocalFleet
from workers.model_host import loaded_keys
from workers.order import PrintOrder
from workers.printing import renderer_key
from workers.speed import warm_up
from workers.window import Window, open_window

Opened = Callable[..., OpenedRun]


@pytest.fixture
def growing() -> Iterator[LocalFleet]:
    """Give a fleet of one worker that can have two."""
    fleet = LocalFleet(2)
    fleet.open()
    yield fleet
    fleet.close()


def batches(run: Run) -> list[Batch]:
    return list(cut_batches(run.plan.todo, BatchSizes({(64, 64): 2})))


def begin(opened: Opened, fleet: LocalFleet, affinity: str = "soft") -> tuple[PrintOrder, Window, list[Batch]]:
    """Open a run whose worker is warm; what hinders loading from now on hinders those that join."""
    run, order = opened(runs.prompts(1500), engine="tests.engines:hindered", cache={"affinity": affinity})
    todo = batches(run)
    warm_up(fleet.open(), order, todo[0])
    return order, Window(fleet.open(), order, in_flight=6), todo


def joined(client: Client, before: set[str]) -> str:
    """Return who has joined, once somebody has."""
    joiner: str = until(lambda: set(client.nthreads()) - before).pop()
    return joiner


@pytest.mark.parametrize("affinity", ["off", "hard"])
def test_who_joins_in_mid_run_gets_no_batch_before_it_is_warm_and_then_does(
    affinity: str, opened: Opened, growing: LocalFleet, tmp_path: Path
) -> None:
    client = growing.open()
    order, window, todo = begin(opened, growing, affinity)
    held_up = engines.hindrance(tmp_path / "out", "held up")
    held_up.touch()
    first = set(client.nthreads())
    receipts = window.receipts(iter(todo))
    next(receipts)
    growing.begin_scaling(2)
    joiner = joined(client, first)
    for _ in range(40):
        assert next(receipts).address in first
        assert not client.processing()[joiner]
    held_up.unlink()
    assert any(receipt.address == joiner for receipt in receipts)
    assert client.run(loaded_keys, workers=[joiner]) == {joiner: (renderer_key(order),)}
    assert len(engines.loaded(tmp_path / "out")) == 2
    receipts.close()


def test_who_joined_between_warming_and_the_first_batch_is_warmed_before_it_gets_one(
    opened: Opened, growing: LocalFleet, tmp_path: Path
) -> None:
    client = growing.open()
    _, window, todo = begin(opened, growing)
    held_up = engines.hindrance(tmp_path / "out", "held up")
    held_up.touch()
    first = set(client.nthreads())
    growing.scale(2)
    joiner = joined(client, first)
    receipts = window.receipts(iter(todo))
    assert {next(receipts).address for _ in range(20)} == first
    held_up.unlink()
    assert any(receipt.address == joiner for receipt in receipts)
    receipts.close()


def test_a_joiner_that_cannot_be_warmed_is_named_and_tried_again_while_the_others_draw(
    opened: Opened, growing: LocalFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joiners, "_AGAIN_S", 0.2)
    told: list[str] = []
    listener = logging.Handler()
    monkeypatch.setattr(listener, "emit", lambda record: told.append(record.getMessage()))
    monkeypatch.setattr(joiners.logger, "handlers", [listener])
    client = growing.open()
    _, window, todo = begin(opened, growing)
    broken = engines.hindrance(tmp_path / "out", "broken")
    broken.touch()
    first = set(client.nthreads())
    receipts = window.receipts(iter(todo))
    next(receipts)
    growing.begin_scaling(2)
    joiner = joined(client, first)
    while len(told) < 2:
        assert next(receipts).address in first
    assert all(joiner in text and "could not be warmed" in text for text in told)
    broken.unlink()
    assert any(receipt.address == joiner for receipt in receipts)
    receipts.close()


def test_a_window_widens_for_who_joins_and_is_warm(opened: Opened, growing: LocalFleet, tmp_path: Path) -> None:
    client = growing.open()
    run, order = opened(runs.prompts(1500), engine="tests.engines:hindered", cache={"affinity": "off"})
    todo = Counted(iter(batches(run)))
    warm_up(client, order, batches(run)[0])
    first = set(client.nthreads())
    held_up = engines.hindrance(tmp_path / "out", "held up")
    held_up.touch()
    receipts = open_window(growing, order, 1).receipts(todo)
    in_flight = (todo.taken - number for number, _ in enumerate(receipts, start=1))
    next(in_flight)
    growing.begin_scaling(2)
    joined(client, first)
    assert max(itertools.islice(in_flight, 20)) <= 3
    held_up.unlink()
    assert any(number > 3 for number in in_flight)
    receipts.close()


def test_where_nobody_else_draws_who_cannot_be_warmed_is_let_in_and_its_batch_tells_why(
    opened: Opened, growing: LocalFleet, tmp_path: Path
) -> None:
    client = growing.open()
    _, window, todo = begin(opened, growing)
    engines.hindrance(tmp_path / "out", "broken").touch()
    receipts = window.receipts(iter(todo))
    next(receipts)
    for pid in client.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(StageFailed, match="the device is broken"):
        list(receipts)


def test_nobody_waits_for_a_run_that_is_over_or_whose_client_is_gone() -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        for end in (lambda dying: waiting_room.leave(dying, "one"), lambda dying: dying.close()):
            with Client(cluster, set_as_default=False) as dying:
                before = len(client.nthreads())
                waiting_room.enter(dying, "one", [])
                waiting_room.enter(client, "other", [])
                cluster.scale(before + 1)
                (joiner,) = until(lambda: waiting_room.waiting_for(client, "other")[0])
                waiting_room.let_in(client, "other", joiner)
                assert running(client) == before
                end(dying)
                until(lambda: running(client) == len(client.nthreads()))


def running(client: Client) -> int:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(worker["status"] == "running" for worker in workers)

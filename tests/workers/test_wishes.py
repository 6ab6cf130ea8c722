"""Tasks for one worker, on real clusters in which that one is not there, or dies with all others."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster, Variable, get_worker

from tests import runs
from tests.workers.conftest import OpenedRun
from workers.fleet import LocalFleet
from workers.newcomers import warm_all
from workers.speed import sample_of
from workers.wishes import addresses, submit_to

PATIENCE_S = 30.0


@pytest.fixture
def single() -> Iterator[LocalFleet]:
    """Give a fleet of one worker."""
    fleet = LocalFleet(1)
    fleet.open()
    yield fleet
    fleet.close()


def test_a_task_for_a_worker_that_is_gone_is_done_by_whoever_comes() -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        future = submit_to(client, "tcp://127.0.0.1:9", len, "ab")
        while client.run_on_scheduler(state, future.key) != "no-worker":
            threading.Event().wait(0.02)
        cluster.scale(1)
        assert future.result(timeout=PATIENCE_S) == 2


def state(key: str, dask_scheduler: Any = None) -> str:
    task = dask_scheduler.tasks.get(key)
    return task.state if task else ""


def test_a_task_whose_worker_is_killed_at_it_with_all_others_is_done_by_the_one_that_comes_instead(
    opened: Callable[..., OpenedRun], single: LocalFleet, tmp_path: Path
) -> None:
    client = single.open()
    begun = Variable("begun", client=client)
    killed = submit_to(client, addresses(client)[0], die_once, tmp_path / "died", begun.name)
    before = begun.get(timeout=PATIENCE_S)
    assert killed.result(timeout=PATIENCE_S) not in ("", before)
    run, order = opened(runs.prompts(2), engine="null")
    (warmed,) = warm_all(client, [before], order, sample_of(run, (64, 64)))  # as of a list made just before it died
    assert warmed.result(timeout=PATIENCE_S).address == killed.result()


def die_once(note: Path, begun: str) -> str:
    """Kill this worker at the first call, and return the address of the one that did the second."""
    address: str = get_worker().address
    if not note.exists():
        note.touch()
        Variable(begun).set(address)
        os.kill(os.getpid(), signal.SIGKILL)
    return address

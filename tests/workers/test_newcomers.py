"""Workers that come while another is at work are warmed before it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests import engines, runs
from tests.workers.conftest import OpenedRun
from workers.fleet import LocalFleet
from workers.newcomers import Newcomers
from workers.speed import sample_of
from workers.wishes import addresses

LONG_S = 60.0


def test_who_comes_while_another_is_at_work_is_warm_before_that_is_done(
    opened: Callable[..., OpenedRun], tmp_path: Path
) -> None:
    run, order = opened(runs.prompts(2), engine="tests.engines:loading")
    fleet = LocalFleet(2)
    try:
        client = fleet.open()
        newcomers = Newcomers(client, order, sample_of(run, (64, 64)))
        first = addresses(client)
        at_work = client.submit(until_loaded, tmp_path / "out", workers=first, pure=False)
        fleet.begin_scaling(2)
        assert newcomers.result(at_work)
        assert len(addresses(client)) == 2
    finally:
        fleet.close()


def until_loaded(collection: Path) -> bool:
    """Wait until some worker has loaded a model; the one that runs this has not."""
    gives_up = time.monotonic() + LONG_S
    while time.monotonic() < gives_up:
        if engines.loaded(collection):
            return True
        time.sleep(0.05)
    return False

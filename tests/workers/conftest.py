from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pressrun.run import Run, open_run
from tests import runs
from tests.forked_workers import fork_workers
from workers.fleet import LocalFleet
from workers.order import PrintOrder
from workers.provisioning import provision

fork_workers()
OpenedRun = tuple[Run, PrintOrder]


@pytest.fixture(scope="module")
def fleet() -> Iterator[LocalFleet]:
    """Give two worker processes."""
    fleet = LocalFleet(2)
    fleet.open()
    fleet.scale(2)
    yield fleet
    fleet.close()


@pytest.fixture
def opened(fleet: LocalFleet, tmp_path: Path) -> Iterator[Callable[..., OpenedRun]]:
    """Give a function that opens a run into `tmp_path / "out"`, with its order; both are closed after the test."""
    under_way: list[Run] = []

    def open_one(prompts: Any, **changes: Any) -> OpenedRun:
        run = open_run(runs.job(tmp_path / "out", prompts, **changes).job(), f"run-{len(under_way)}-{tmp_path.name}")
        under_way.append(run)
        return run, provision(run, fleet)

    yield open_one
    for run in under_way:
        run.close()

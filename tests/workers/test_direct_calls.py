"""Direct calls: what they do knows for which worker, as a task does."""

from __future__ import annotations

from typing import Any

import pytest
from distributed import Client, LocalCluster

from workers.direct_calls import call_each, calling_worker, in_thread


def who() -> str:
    worker = calling_worker()
    return "" if worker is None else str(worker.address)


async def who_in_a_tasks_thread(dask_worker: Any) -> str:
    return str(await in_thread(dask_worker, dask_worker.executor, who))


@pytest.mark.parametrize("how", ["task", "call", "call in a task's thread"])
def test_what_a_worker_does_knows_whose_it_is_though_another_is_in_the_same_process(how: str) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        there = list(client.nthreads())
        if how == "task":
            found = {one: client.submit(who, workers=[one], pure=False).result() for one in there}
        elif how == "call":
            found = call_each(client, who, {one: () for one in there})
        else:
            found = client.run(who_in_a_tasks_thread)
        assert found == {one: one for one in there}
    assert who() == ""

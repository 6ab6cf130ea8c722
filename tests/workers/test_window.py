from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import Client, Future, LocalCluster

from pressrun.batch import Batch
from pressrun.batch_sizes import BatchSizes
from pressrun.errors import RunCancelled, StageFailed
from pressrun.plan import cut_batches
from pressrun.run import Run
from tests import engines, runs
from tests.awaiting import until
from tests.workers.conftest import OpenedRun
from tests.workers.counted import Counted
from workers.fleet import LocalFleet
from workers.placement import Placement
from workers.printing import Receipt
from workers.window import Window, open_window

Opened = Callable[..., OpenedRun]


def batches(run: Run, size: int = 2) -> Iterator[Batch]:
    return cut_batches(run.plan.todo, BatchSizes({(64, 64): size}))


def test_every_batch_gives_one_receipt_and_no_more_than_the_window_are_in_flight(
    fleet: LocalFleet, opened: Opened
) -> None:
    run, order = opened(runs.prompts(21))
    counted = Counted(batches(run))
    receipts = []
    for receipt in Window(fleet.open(), order, in_flight=3).receipts(counted):
        receipts.append(receipt)
        assert counted.taken - len(receipts) <= 3
    assert len(receipts) == 11
    ids = [image_id for receipt in receipts for image_id in receipt.rows.column("image_id").to_pylist()]
    assert sorted(ids) == sorted(run.plan.todo.column("image_id").to_pylist())


def test_shards_share_one_window_and_all_come_to_their_end(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(32))
    window = Window(fleet.open(), order, in_flight=3)
    requests = run.plan.todo
    counted = [Counted(cut_batches(requests.slice(at, 8), BatchSizes({(64, 64): 1}))) for at in range(0, 32, 8)]
    yielded, lock = [0], threading.Lock()
    most = [0]

    def generate(shard: Counted) -> None:
        for _ in window.receipts(shard):
            with lock:
                yielded[0] += 1
                most[0] = max(most[0], sum(one.taken for one in counted) - yielded[0])

    threads = [threading.Thread(target=generate, args=(shard,)) for shard in counted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert yielded == [32]
    assert most[0] <= 3 + len(threads)  # a receipt in the hands of a shard has given its place back already


def test_a_window_over_a_fleet_keeps_every_worker_fed(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(12))
    workers = {receipt.worker for receipt in open_window(fleet, order, 2).receipts(batches(run))}
    assert len(workers) == 2


@pytest.mark.timeout(30)  # it would wait for a place for ever
def test_a_receipt_loop_that_is_left_gives_its_places_back(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(12))
    window = Window(fleet.open(), order, in_flight=2)
    for _ in range(2):  # as many as there are places
        left = window.receipts(batches(run))
        next(left)
        left.close()
    assert len(list(window.receipts(batches(run)))) == 6


def test_a_batch_that_was_committed_before_is_answered_without_drawing(
    fleet: LocalFleet, opened: Opened, tmp_path: Path
) -> None:
    run, order = opened(runs.prompts(6), engine="tests.engines:faulty")
    window = Window(fleet.open(), order, in_flight=2)
    first = {receipt.batch_id: receipt.rows for receipt in window.receipts(batches(run))}
    again = {receipt.batch_id: receipt.rows for receipt in window.receipts(batches(run))}
    assert {batch_id: rows.to_pylist() for batch_id, rows in again.items()} == {
        batch_id: rows.to_pylist() for batch_id, rows in first.items()
    }
    assert len(engines.drawn(tmp_path / "out")) == 6


def test_cancelling_ends_the_loop_and_stops_workers_between_two_steps(
    fleet: LocalFleet, opened: Opened, tmp_path: Path
) -> None:
    run, order = opened(runs.prompts(60), engine="tests.engines:slow")
    window = Window(fleet.open(), order, in_flight=6)
    receipts = window.receipts(batches(run, size=10))  # 2 s a batch
    threading.Timer(0.5, window.cancel).start()
    started = time.monotonic()
    with pytest.raises(RunCancelled):  # from the loop, or from a worker that was quicker
        next(receipts)
    assert time.monotonic() - started < 1.9
    with pytest.raises(RunCancelled):  # whoever asks, nothing of a cancelled run is printed
        list(Window(fleet.open(), order, in_flight=2).receipts(batches(run)))
    assert engines.drawn(tmp_path / "out") == []


def test_cancelling_twice_and_with_a_worker_that_has_just_died_still_ends_the_loop(
    fleet: LocalFleet, opened: Opened
) -> None:
    run, order = opened(runs.prompts(20), engine="tests.engines:slow")
    window = Window(fleet.open(), order, in_flight=4)
    receipts = window.receipts(batches(run))
    next(receipts)
    os.kill(next(iter(fleet.open().run(os.getpid).values())), signal.SIGKILL)
    window.cancel()
    window.cancel()
    with pytest.raises(RunCancelled):
        list(receipts)
    fleet.open().wait_for_workers(2, timeout=60)


def test_a_collection_that_cannot_be_written_to_fails_the_stage_by_batch(
    fleet: LocalFleet, opened: Opened, tmp_path: Path
) -> None:
    run, order = opened(runs.prompts(4))
    (tmp_path / "out" / "images").write_text("a file where a folder should be")
    with pytest.raises(StageFailed, match=r"Batch [0-9a-f]{20} failed: \w+Error"):
        list(Window(fleet.open(), order, in_flight=2).receipts(batches(run)))


def test_a_cluster_that_stays_without_workers_is_given_up_with_the_batches_that_wait(opened: Opened) -> None:
    run, order = opened(runs.prompts(4))
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        window = Window(client, order, in_flight=2, patience_s=1)
        with pytest.raises(StageFailed, match="0 workers for 1 s with 2 batches waiting"):
            list(window.receipts(batches(run)))


@pytest.mark.timeout(60)  # it would wait for the receipt for ever
def test_a_receipt_that_went_with_the_last_worker_is_given_up_with_the_cluster(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, order = opened(runs.prompts(2))
    fetch, shrinking = Placement.receipt_of, LocalFleet(1)
    client = shrinking.open()

    def come_too_late(placement: Placement, future: Future) -> Receipt | None:
        client.cluster.scale(0)
        until(lambda: not client.nthreads())
        return fetch(placement, future)

    monkeypatch.setattr(Placement, "receipt_of", come_too_late)
    with pytest.raises(StageFailed, match="0 workers for 1 s with 1 batches waiting"):
        list(Window(client, order, in_flight=1, patience_s=1).receipts(batches(run)))
    shrinking.close()


def test_batches_of_which_none_finishes_in_time_end_the_stage_by_name(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(20), engine="tests.engines:slow")
    window = Window(fleet.open(), order, in_flight=2, stall_s=0.6)
    with pytest.raises(StageFailed, match=r"None of 2 batches \([0-9a-f]{20}, [0-9a-f]{20}\) finished within 1 s"):
        list(window.receipts(batches(run, size=10)))  # 2 s a batch


def test_a_cluster_that_goes_away_ends_the_run_instead_of_hanging(opened: Opened) -> None:
    run, order = opened(runs.prompts(40), engine="tests.engines:slow")
    doomed = LocalFleet(1)
    receipts = Window(doomed.open(), order, in_flight=2).receipts(batches(run))
    next(receipts)
    closing = threading.Thread(target=doomed.close)
    closing.start()
    with pytest.raises(StageFailed):
        list(receipts)
    closing.join(30)
    assert not closing.is_alive()


@pytest.mark.slow
def test_a_killer_among_single_batches_is_the_only_one_convicted(fleet: LocalFleet, opened: Opened) -> None:
    prompts = runs.prompts(8)
    prompts[3] = "kill always"
    run, order = opened(prompts, engine="tests.engines:faulty")
    receipts = list(Window(fleet.open(), order, in_flight=6).receipts(batches(run, size=1)))
    letters = [letter for receipt in receipts for letter in receipt.failures]
    assert [(letter.error_type, letter.attempts) for letter in letters] == [("KilledWorker", 2)]
    assert sum(receipt.rows.num_rows for receipt in receipts) == 7

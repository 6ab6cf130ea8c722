from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pressrun import failures, manifest
from pressrun.batch_sizes import BatchSizes
from pressrun.errors import CollectionBusy, RunCancelled
from pressrun.plan import Shard
from tests import engines, runs
from tests.pressrun.small_collection import held_ids
from tests.workers.conftest import OpenedRun
from workers.fleet import LocalFleet
from workers.generation import generate
from workers.speed import Speed
from workers.window import Window

Opened = Callable[..., OpenedRun]
PAIRS = Speed(BatchSizes({(64, 64): 2}))


def test_a_shard_is_committed_as_one_part_without_receipts(fleet: LocalFleet, opened: Opened, tmp_path: Path) -> None:
    run, order = opened(runs.prompts(12))
    window = Window(fleet.open(), order, in_flight=4)
    assert generate(run, Shard(0, 0, 8), PAIRS, window) == 8
    assert (len(manifest.part_names(run.store)), manifest.receipt_names(run.store)) == (1, [])
    assert sorted(runs.rows(tmp_path / "out")) == sorted(run.plan.todo.slice(0, 8).column("image_id").to_pylist())
    assert (run.ledger.counts.done, run.ledger.counts.total) == (8, 12)


def test_a_shard_tried_again_draws_only_what_is_missing(
    fleet: LocalFleet, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, order = opened(runs.prompts(10), engine="tests.engines:faulty")
    window = Window(fleet.open(), order, in_flight=1)
    receipts = itertools.count(1)

    def fail_at_the_fourth() -> None:
        if next(receipts) == 4:
            raise OSError("the store is away")

    monkeypatch.setattr(run, "check_claim", fail_at_the_fourth)
    with pytest.raises(OSError, match="store is away"):
        generate(run, Shard(0, 0, 10), PAIRS, window)
    assert run.ledger.counts.done == 6
    assert generate(run, Shard(0, 0, 10), PAIRS, window) == 4
    assert generate(run, Shard(0, 0, 10), PAIRS, window) == 0
    assert sorted(engines.drawn(tmp_path / "out")) == sorted(runs.rows(tmp_path / "out"))
    assert (run.ledger.counts.done, run.ledger.done_ids()) == (10, [])
    assert not runs.flaws(tmp_path / "out")


def test_a_cancelled_shard_keeps_what_was_finished(fleet: LocalFleet, opened: Opened, tmp_path: Path) -> None:
    run, order = opened(runs.prompts(40), engine="tests.engines:slow")
    window = Window(fleet.open(), order, in_flight=4)

    def cancel_after_a_batch() -> None:
        runs.wait_until(lambda: run.ledger.counts.done, "a finished batch")
        window.cancel()

    cancelling = threading.Thread(target=cancel_after_a_batch)
    cancelling.start()
    with pytest.raises(RunCancelled):
        generate(run, Shard(0, 0, 40), PAIRS, window)
    cancelling.join()
    held = held_ids(run.store)
    assert 2 <= run.ledger.counts.done <= len(set(held)) < 40
    assert len(manifest.part_names(run.store)) == 1


def test_dead_letters_of_two_shards_stand_side_by_side(fleet: LocalFleet, opened: Opened) -> None:
    prompts = runs.prompts(8)
    prompts[1], prompts[6] = "boom one", "boom two"
    run, order = opened(prompts, engine="tests.engines:faulty")
    window = Window(fleet.open(), order, in_flight=4)
    for shard in (Shard(0, 0, 4), Shard(1, 4, 8)):
        assert generate(run, shard, PAIRS, window) == 3
    letters = failures.read_failures(run.store, run.run_id).to_pylist()
    assert {letter["prompt"] for letter in letters} == {"boom one", "boom two"}
    assert run.ledger.counts.failed == 2


def test_a_run_whose_collection_was_taken_over_stops_writing(
    fleet: LocalFleet, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pressrun.writer_claim._BEAT_S", 0.05)
    run, order = opened(runs.prompts(8))
    claim = json.loads(run.store.read("writer.json")) | {"run_id": "another-run"}

    def take_over() -> bool:
        run.store.write("writer.json", json.dumps(claim).encode())  # again if the run's own heartbeat was between
        return is_taken_over(run.check_claim)

    runs.wait_until(take_over, "the run to notice")
    with pytest.raises(CollectionBusy, match=run.run_id):
        generate(run, Shard(0, 0, 8), PAIRS, Window(fleet.open(), order, in_flight=4))


def is_taken_over(check: Callable[[], None]) -> bool:
    try:
        check()
    except CollectionBusy:
        return True
    return False

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from pressrun.failures import Failure
from pressrun.ledger import Counts, Ledger
from pressrun.progress import News, listening


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    return Ledger(total=10, clock=clock)


def failing(image_id: str) -> Failure:
    return Failure.of(image_id, "render", ValueError("no"), 2)


def test_stages_are_timed_in_order_and_add_up(ledger: Ledger, clock: Clock) -> None:
    for name, seconds in (("warm model", 3), ("generate", 10), ("warm model", 2)):
        with ledger.stage(name, ""):
            clock.now += seconds
    assert list(ledger.stages.items()) == [("warm model", 5.0), ("generate", 10.0)]
    assert ledger.elapsed_s == 15.0
    assert ledger.broken_stage == ""


def test_a_stage_that_breaks_is_named_even_after_the_tear_down(ledger: Ledger, clock: Clock) -> None:
    with pytest.raises(ValueError, match="no"), ledger.stage("generate", ""):
        raise ValueError("no")
    with ledger.stage("tear down", ""):
        clock.now += 1
    assert ledger.broken_stage == "generate"
    assert ledger.stages == {"generate": 0.0, "tear down": 1.0}


def test_a_stage_that_works_the_second_time_is_not_broken(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="no"), ledger.stage("warm model", ""):
        raise ValueError("no")
    with ledger.stage("warm model", ""):
        pass
    assert ledger.broken_stage == ""


def test_a_signal_breaks_a_stage_too(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt), ledger.stage("generate", ""):
        raise KeyboardInterrupt
    assert ledger.broken_stage == "generate"


def test_an_image_entered_twice_counts_once(ledger: Ledger) -> None:
    ledger.add(["a", "b"], (), (1.0, 0.5))
    ledger.add(["b", "c"], (), (1.0, 0.5))
    assert ledger.counts == Counts(3, 0, 10)
    assert sorted(ledger.done_ids()) == ["a", "b", "c"]
    assert (ledger.render_s, ledger.publish_s) == (2.0, 1.0)


def test_a_closed_shard_is_a_number_and_no_ids(ledger: Ledger) -> None:
    ledger.add(["a", "b"], (), (1.0, 0.5))
    ledger.add(["b", "d"], (failing("c"),), (1.0, 0.5))
    for _ in range(2):
        ledger.close_shard(0, ["a", "b", "c"])
    assert ledger.done_ids() == ["d"]
    assert ledger.counts == Counts(3, 1, 10)
    assert (ledger.is_closed(0), ledger.is_closed(1)) == (True, False)
    ledger.add(["d", "e"], (), (1.0, 0.5))
    assert ledger.counts == Counts(4, 1, 10)
    assert ledger.points[-1][1] == 4


@pytest.mark.parametrize("failure_first", [True, False])
def test_an_image_is_done_or_failed_and_never_both(ledger: Ledger, failure_first: bool) -> None:
    entries = [([], (failing("a"), failing("b"))), (["a"], ())]
    for image_ids, failures in entries if failure_first else reversed(entries):
        ledger.add(image_ids, failures, (0.0, 0.0))
    assert ledger.counts == Counts(1, 1, 10)
    assert list(ledger.failures) == ["b"]


def test_points_tell_the_count_by_time(ledger: Ledger, clock: Clock) -> None:
    clock.now += 50
    ledger.start_generating()
    clock.now += 2
    ledger.add(["a"], (), (1.0, 1.0))
    ledger.start_generating()
    clock.now += 3
    ledger.add(["b", "c"], (), (1.0, 1.0))
    assert ledger.points == [(0.0, 0), (2.0, 1), (5.0, 3)]


@pytest.mark.parametrize("entries", [9, 10, 11, 12, 100, 101, 1000, 1023])
def test_a_long_run_keeps_few_points_evenly_spaced(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr("pressrun.ledger._MOST_POINTS", 10)
    for number in range(entries):
        ledger.add([str(number)], (), (0.0, 0.0))
    counts = [done for _, done in ledger.points]
    assert len(counts) <= 12
    assert (counts[0], counts[-1]) == (0, entries)
    steps = {later - earlier for earlier, later in pairwise(counts[:-1])}
    assert len(steps) == 1
    assert counts[-1] - counts[-2] <= min(steps)


def test_listeners_hear_of_every_entry(ledger: Ledger) -> None:
    heard: list[News] = []
    with listening(heard.append):
        with ledger.stage("generate batches", "drawing"):
            ledger.add(["a"], (failing("b"),), (0.0, 0.0))
    ledger.add(["c"], (), (0.0, 0.0))
    assert heard == [News("generate batches", "drawing"), News("generate batches", "", 1, 10, 1)]


def test_threads_enter_at_once_without_losing_anything(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as threads:
        for number in range(400):
            threads.submit(ledger.add, [f"done-{number}"], (failing(f"failed-{number}"),), (0.5, 0.25))
    assert ledger.counts == Counts(400, 400, 10)
    assert (ledger.render_s, ledger.publish_s) == (200.0, 100.0)
    assert [done for _, done in ledger.points] == list(range(401))

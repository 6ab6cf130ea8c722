"""Warm models of one process: loaded once, one at work, the oldest leaving first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from pressrun.errors import InvalidModel
from workers.engines.null_renderer import NullRenderer
from workers.engines.renderer import OutOfMemory
from workers.model_host import ModelHost, model_host


class Watched(NullRenderer):
    """A real renderer that tells when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def close(self) -> None:
        self.closed = True


def use(host: ModelHost, key: str, weight_bytes: int = 1) -> Watched:
    with host.renderer(key, Watched, weight_bytes) as renderer:
        assert isinstance(renderer, Watched)
        assert not renderer.closed
        return renderer


def test_threads_that_ask_at_once_load_once() -> None:
    host, start, loads = ModelHost(), Barrier(8), list[int]()

    def load() -> Watched:
        loads.append(1)
        return Watched()

    def ask() -> int:
        start.wait()
        with host.renderer("a", load, 1) as renderer:
            return id(renderer)

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask) for _ in range(8)]
        assert len({future.result() for future in asked}) == 1
    assert loads == [1]


def test_only_one_renderer_works_at_a_time() -> None:
    host, inside, leave, second = ModelHost(), Event(), Event(), list[str]()

    def hold() -> None:
        with host.renderer("a", Watched, 1):
            inside.set()
            leave.wait(10)
            second.append("first done")

    def follow() -> None:
        with host.renderer("b", Watched, 1):
            second.append("second began")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(hold)
        assert inside.wait(10)
        other = threads.submit(follow)
        assert second == []
        leave.set()
        first.result()
        other.result()
    assert second == ["first done", "second began"]


def test_the_least_recently_used_model_leaves_when_the_budget_is_full() -> None:
    host = ModelHost(budget_bytes=10)
    a, b = use(host, "a", 4), use(host, "b", 4)
    assert use(host, "a", 4) is a
    c = use(host, "c", 6)
    assert host.keys() == ["a", "c"]
    assert (a.closed, b.closed, c.closed) == (False, True, False)


def test_as_many_models_leave_as_the_new_one_needs() -> None:
    host = ModelHost(budget_bytes=10)
    a, b = use(host, "a", 5), use(host, "b", 5)
    use(host, "c", 10)
    assert a.closed
    assert b.closed
    assert host.keys() == ["c"]


def test_a_model_over_the_whole_budget_is_refused_and_the_others_stay() -> None:
    host = ModelHost(budget_bytes=2_000_000_000)
    a = use(host, "a", 1_000_000_000)
    with pytest.raises(InvalidModel, match=r"model big has 3\.500 GB of weights.*hold 2\.000 GB.*raise the budget"):
        use(host, "big", 3_500_000_000)
    assert not a.closed


def test_without_a_budget_everything_stays() -> None:
    host = ModelHost()
    for key in "abc":
        use(host, key, 10**15)
    assert host.keys() == ["a", "b", "c"]


def test_a_failed_load_leaves_no_trace_and_is_tried_again_by_the_next() -> None:
    host = ModelHost()

    def fail() -> Watched:
        raise InvalidModel("broken")

    with pytest.raises(InvalidModel, match="broken"), host.renderer("a", fail, 1):
        pass
    assert host.keys() == []
    use(host, "a")


def test_a_failed_render_gives_the_device_back() -> None:
    host = ModelHost()
    with pytest.raises(ValueError, match="bad prompt"), host.renderer("a", Watched, 1):
        raise ValueError("bad prompt")
    use(host, "a")


def test_a_load_that_runs_out_of_memory_gets_the_room_of_the_idle_ones() -> None:
    host = ModelHost()
    a = use(host, "a")

    def load() -> Watched:
        if not a.closed:
            raise OutOfMemory("full")
        return Watched()

    with host.renderer("b", load, 1):
        assert host.keys() == ["b"]


def test_a_load_that_runs_out_of_memory_alone_fails() -> None:
    def load() -> Watched:
        raise OutOfMemory("full")

    with pytest.raises(OutOfMemory), ModelHost().renderer("a", load, 1):
        pass


def test_close_frees_everything_and_the_host_goes_on() -> None:
    host = ModelHost()
    a = use(host, "a")
    host.close()
    assert a.closed
    assert use(host, "a") is not a


def test_a_process_has_one_host_whichever_thread_asks_first() -> None:
    start = Barrier(8)

    def ask(_: int) -> ModelHost:
        start.wait()
        return model_host()

    with ThreadPoolExecutor(8) as threads:
        assert len(set(map(id, threads.map(ask, range(8))))) == 1

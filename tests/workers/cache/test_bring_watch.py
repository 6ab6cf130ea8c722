"""News of weights on their way."""

from __future__ import annotations

import threading

from pressrun.cache.traffic import Traffic
from pressrun.cache.traffic_report import TrafficReport
from pressrun.progress import News, listening
from workers.cache.bring_watch import telling_progress


class Listener:
    """Keeps news, and lets a test wait for a number of them."""

    def __init__(self, wanted: int) -> None:
        self.news: list[News] = []
        self._wanted = wanted
        self.came = threading.Event()

    def __call__(self, news: News) -> None:
        self.news.append(news)
        if len(self.news) >= self._wanted:
            self.came.set()


def account() -> Traffic:
    traffic = Traffic()
    traffic.lacked("alpha", 100, nobody_has=True)
    traffic.waits("alpha", 2, 0.0)
    return traffic


def test_listeners_hear_how_far_it_is_until_the_end() -> None:
    traffic, listener = account(), Listener(2)
    with listening(listener), telling_progress(lambda: traffic.snapshot(5.0), every_s=0.01):
        assert listener.came.wait(20)
        traffic.received("alpha", "origin", 100, 1.0, 5.0)
    assert {news.stage for news in listener.news} == {"provision cache"}
    assert listener.news[0].share == 0.0
    assert listener.news[0].message == "0 bytes of 100 bytes, 0 bytes of it from the origin; 1 host waiting"
    assert listener.news[-1].share == 1.0


def test_what_is_over_at_once_is_not_told() -> None:
    listener = Listener(1)
    with listening(listener), telling_progress(lambda: account().snapshot(1.0), every_s=60.0):
        pass
    assert listener.news == []


def test_where_nothing_is_lacking_nothing_is_told() -> None:
    looked, listener = threading.Semaphore(0), Listener(1)

    def report() -> TrafficReport:
        looked.release()
        return TrafficReport()

    with listening(listener), telling_progress(report, every_s=0.01):
        for _ in range(2):
            assert looked.acquire(timeout=20)
    assert listener.news == []


def test_a_scheduler_that_does_not_answer_costs_nothing_but_the_news() -> None:
    asked = threading.Semaphore(0)
    listener = Listener(1)

    def report() -> TrafficReport:
        asked.release()
        raise OSError("the scheduler is away")

    with listening(listener), telling_progress(report, every_s=0.01):
        for _ in range(2):
            assert asked.acquire(timeout=20)
    assert listener.news == []

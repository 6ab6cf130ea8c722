"""What the cache's registry on the scheduler takes in, and from which of a host's workers, told to it one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.ioloop import PeriodicCallback

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.cache.messages import Joined, Unwanted, WantedChunk, Wants
from pressrun.cache.sources import Limits
from pressrun.location import Location
from workers.cache.channel import Answer, Ask, Budget, Message, Stands, packed, unpacked
from workers.cache.scheduler_part import CacheRegistry

ASK = Ask("host", Location("s3://bucket/model"), ChunkManifest("revision", ()))


class Told:
    """A scheduler that keeps what is sent to its workers, with a cache's registry."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.stream_handlers: dict[str, Callable[..., Any]] = {}
        self.stream_comms: tuple[str, ...] = ("first", "second", "third")
        self.loop = SimpleNamespace(call_later=lambda delay_s, call: None)
        self.registry = CacheRegistry("channel", Limits())
        asyncio.run(self.registry.start(self))  # type: ignore[arg-type]

    def worker_send(self, worker: str, told: dict[str, Any]) -> None:
        self.sent.append((worker, unpacked(told["packed"])))

    def hear(self, worker: str, message: Message) -> None:
        self.stream_handlers[self.registry.name](worker, packed("channel", message)["packed"])

    def answers(self) -> list[tuple[str, str]]:
        return [(worker, message.problem) for worker, message in self.sent if isinstance(message, Answer)]

    def asked(self) -> list[str]:
        return [worker for worker, message in self.sent if isinstance(message, Ask)]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(PeriodicCallback, "start", lambda self: None)
    return Told()


def test_late_news_of_the_last_keeper_take_nothing_from_the_next(told: Told) -> None:
    told.hear("first", Joined("host", "", "host:1"))
    told.hear("second", Joined("host", "", "host:2"))
    told.hear("second", Wants("host", (WantedChunk("chunk", 1),)))
    told.hear("first", Unwanted("host", ("chunk",)))
    assert told.registry._registry.swarm.hosts["host"].wants.keys() == {"chunk"}


def test_a_retired_worker_that_announces_itself_again_to_hand_over_is_forgotten_in_the_end(told: Told) -> None:
    later: list[Callable[[], Any]] = []
    told.loop.call_later = lambda delay_s, call, *arguments: later.append(partial(call, *arguments))
    told.stream_comms = ("second",)
    told.hear("first", Joined("host", "", "host:1"))
    assert told.registry._registry.swarm.hosts.keys() == {"host"}
    for call in later:  # as nobody else tells of it, were it killed
        call()
    assert not told.registry._registry.swarm.hosts
    told.hear("first", Unwanted("host", ("chunk",)))
    assert not told.registry._registry.swarm.hosts


def test_a_worker_that_is_back_under_the_address_of_one_that_was_retired_is_not_forgotten_with_it(told: Told) -> None:
    later: list[Callable[[], Any]] = []
    told.loop.call_later = lambda delay_s, call, *arguments: later.append(partial(call, *arguments))
    told.stream_comms = ()
    told.hear("first", Joined("host", "", "host:1"))
    (forgetting,) = [call for call in later if call.args]
    told.registry.remove_worker(told.registry._scheduler, "first")
    told.stream_comms = ("first",)
    told.hear("first", Joined("host", "", "host:1"))
    forgetting()
    told.hear("first", ASK)
    assert told.asked() == ["first"]


def test_only_the_keeper_answers_for_its_host(told: Told) -> None:
    told.hear("first", Joined("host", "", "host:1"))
    told.hear("third", ASK)
    told.hear("second", Joined("host", "", "host:2"))
    told.hear("first", Answer("host", "revision", problem="late"))
    assert not told.answers()
    told.hear("second", Answer("host", "revision"))
    assert told.answers() == [("third", "")]


def test_a_keeper_is_asked_once_for_what_many_wait_for(told: Told) -> None:
    told.hear("first", Joined("host", "", "host:1"))
    for worker in ("second", "third", "third"):
        told.hear(worker, ASK)
    assert told.asked() == ["first"]
    told.hear("second", Joined("host", "", "host:2"))
    assert told.asked() == ["first", "second"]
    told.hear("second", Answer("host", "revision"))
    assert sorted(told.answers()) == [("second", ""), ("third", "")]
    told.hear("third", ASK)
    assert told.asked() == ["first", "second", "second"]


def test_what_nobody_waits_for_any_more_is_not_asked_of_the_next_keeper(told: Told) -> None:
    told.hear("first", Joined("host", "", "host:1"))
    for worker in ("first", "second"):
        told.hear(worker, ASK)
    told.registry.remove_worker(told.registry._scheduler, "first")
    told.hear("third", Joined("host", "", "host:3"))
    assert told.asked() == ["first", "third"]  # the second waits
    told.registry.remove_worker(told.registry._scheduler, "second")
    told.registry.remove_worker(told.registry._scheduler, "third")
    told.hear("first", Joined("host", "", "host:1"))
    assert told.asked() == ["first", "third"]
    told.hear("first", ASK)
    assert told.asked() == ["first", "third", "first"]


def test_what_is_asked_for_fails_only_when_no_worker_of_the_host_can_keep_its_part(told: Told) -> None:
    told.hear("first", Stands("host"))
    told.hear("second", Stands("host"))
    told.hear("first", ASK)
    told.hear("first", Stands("host", "no more files"))
    assert not told.answers()
    told.registry.remove_worker(told.registry._scheduler, "second")
    ((worker, problem),) = told.answers()
    assert worker == "first"
    assert "no more files" in problem


def test_a_backlog_is_told_by_one_sequence_of_answers_however_often_time_passes(told: Told) -> None:
    later: list[Callable[[], Any]] = []
    told.loop.call_later = lambda delay_s, call: later.append(call)
    backlog = SimpleNamespace(has_more=True, commands=lambda now_s: [], second_tries=lambda now_s: [])
    told.registry._registry = backlog  # type: ignore[assignment]
    for _ in range(3):
        told.registry._tick()
    assert len(later) == 1
    later.pop()()
    assert len(later) == 1


def test_a_budget_is_new_to_a_host_once_each_time_that_it_is_set(told: Told) -> None:
    def heard() -> list[tuple[str, int, bool]]:
        said = [(worker, budget) for worker, budget in told.sent if isinstance(budget, Budget)]
        told.sent.clear()
        return [(worker, budget.budget_bytes, budget.is_known) for worker, budget in said]

    told.hear("first", Joined("host", "", "host:1"))
    told.registry.set_budget(10)
    told.hear("second", Joined("other", "", "other:1"))
    assert heard() == [("first", 10, False), ("second", 10, False)]
    for worker, host in (("first", "host"), ("second", "other")):
        told.registry.remove_worker(told.registry._scheduler, worker)
        told.hear("third", Joined(host, "", f"{host}:2"))
        told.registry.remove_worker(told.registry._scheduler, "third")
    assert heard() == [("third", 10, True), ("third", 10, True)]
    told.registry.set_budget(20)
    told.hear("first", Joined("host", "", "host:1"))
    assert heard() == [("first", 20, False)]


def test_of_many_manifests_the_newest_are_remembered(told: Told) -> None:
    for number in range(200):
        told.registry.offer(ChunkManifest(f"r{number}", ()))
        told.registry.offer(ChunkManifest("again and again", ()))
    assert {"again and again", "r199", "r150"} <= told.registry._manifests.keys()
    assert len(told.registry._manifests) < 100

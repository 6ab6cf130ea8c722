"""Answers to tasks that wait for a model: each task gets one, however the tasks' threads run."""

from __future__ import annotations

from workers.cache.channel import Answer
from workers.cache.waits import Waits


def test_who_asks_again_after_an_answer_waits_for_one_of_its_own() -> None:
    waits = Waits()
    first, second = waits.join("revision"), waits.join("revision")
    waits.answer(Answer("host", "revision", problem="the origin was down"))
    assert first.answered().problem == "the origin was down"
    later = waits.join("revision")
    assert second.answered().problem == "the origin was down"
    waits.answer(Answer("host", "revision"))
    assert not later.answered().problem


def test_nobody_waits_for_ever_when_the_worker_closes() -> None:
    waits = Waits()
    before = waits.join("revision")
    waits.close(Answer("host", "", problem="the worker was closed"))
    after = waits.join("revision")
    assert before.answered().problem == after.answered().problem == "the worker was closed"

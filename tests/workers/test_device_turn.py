"""Turns at a device: one denoises, and others may finish beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from workers.device_turn import DeviceTurn, Manner

LONG_S = 10.0


def test_who_has_denoised_lets_the_next_one_begin() -> None:
    turn, begun = DeviceTurn(), Event()

    def follow() -> bool:
        with turn.taken() as stay:
            begun.set()
            return stay.had_company

    with ThreadPoolExecutor(1) as threads:
        with turn.taken("shared") as stay:
            other = threads.submit(follow)
            assert not begun.wait(0.05)
            turn.end_early()
            turn.end_early()  # again does nothing
            assert begun.wait(LONG_S)
        assert other.result()
        assert stay.had_company
    with turn.taken() as stay:
        assert not stay.had_company


@pytest.mark.parametrize("manner", ["whole", "alone"])
def test_a_turn_that_was_taken_whole_does_not_end_early(manner: Manner) -> None:
    turn, begun = DeviceTurn(), Event()

    def follow() -> None:
        with turn.taken():
            begun.set()

    with ThreadPoolExecutor(1) as threads:
        with turn.taken(manner):
            other = threads.submit(follow)
            turn.end_early()
            assert not begun.wait(0.05)
        other.result(LONG_S)
    turn.end_early()  # without a turn it does nothing


def test_who_wants_the_device_alone_waits_for_those_who_finish() -> None:
    turn, begun, leave = DeviceTurn(), Event(), Event()

    def finish() -> None:
        with turn.taken("shared"):
            turn.end_early()
            begun.set()
            assert leave.wait(LONG_S)

    def alone() -> bool:
        with turn.taken("alone") as stay:
            return stay.had_company

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(finish)
        assert begun.wait(LONG_S)
        second = threads.submit(alone)
        with pytest.raises(TimeoutError):
            second.result(0.05)
        leave.set()
        first.result(LONG_S)
        assert not second.result(LONG_S)


def test_a_turn_ends_with_an_error_too() -> None:
    turn = DeviceTurn()
    with pytest.raises(ValueError, match="broken"), turn.taken():
        raise ValueError("broken")
    with turn.taken("alone") as stay:
        assert not stay.had_company

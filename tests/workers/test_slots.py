from __future__ import annotations

import threading

from tests import runs
from workers.slots import Slots


def want_all(slots: Slots, events: list[bool]) -> threading.Thread:
    """Return a thread that waits for all places, and notes once it has them whether there is another one."""

    def wait() -> None:
        with slots.alone():
            events.append(slots.take())

    waiting = threading.Thread(target=wait)
    waiting.start()
    runs.wait_until(lambda: not slots.take() or slots.give_back(), "the places to be wanted")
    return waiting


def test_there_are_as_many_places_as_were_made() -> None:
    slots = Slots(3)
    assert [slots.take() for _ in range(4)] == [True, True, True, False]
    slots.give_back()
    assert slots.take()


def test_whoever_wants_all_places_waits_for_them_while_nobody_else_gets_one() -> None:
    slots, events = Slots(2), []
    assert slots.take()
    waiting = want_all(slots, events)
    assert events == []
    slots.give_back()
    waiting.join(10)
    assert events == [False]
    assert [slots.take() for _ in range(3)] == [True, True, False]


def test_two_that_want_all_places_get_them_one_after_the_other() -> None:
    slots, inside, most = Slots(2), [], []

    def hold(name: int) -> None:
        for _ in range(50):
            with slots.alone():
                inside.append(name)
                most.append(len(inside))
                inside.remove(name)

    threads = [threading.Thread(target=hold, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 150
    assert max(most) == 1


def test_places_grow_and_never_shrink() -> None:
    slots = Slots(1)
    slots.widen_to(3)
    slots.widen_to(2)
    assert [slots.take() for _ in range(4)] == [True, True, True, False]


def test_whoever_has_all_places_has_those_too_that_come_while_waiting() -> None:
    slots, events = Slots(1), []
    assert slots.take()
    waiting = want_all(slots, events)
    slots.widen_to(2)
    assert events == []
    slots.give_back()
    waiting.join(10)
    assert events == [False]
    assert [slots.take() for _ in range(3)] == [True, True, False]

"""Turns of many hosts: one thing a host and round, until nobody finds anything more or an answer takes too long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

_T = TypeVar("_T")
_EFFORT, _DONE = 1000, 20  # what a search that finds something costs, where one in vain costs 1


def in_rounds(whose: Iterable[_T], does: Callable[[_T], bool]) -> bool:
    """Have everybody do something in turn, so that nobody takes all there is.

    Parameters
    ----------
    whose : iterable
        Who, in the order of the first round.
    does : callable
        Does one thing; returns whether there was anything to do, else that one's turns are over.

    Returns
    -------
    bool
        Whether it was cut short; everybody had one turn at least, or others had found much.
    """
    waiting = deque(whose)
    effort = _EFFORT + len(waiting)
    while waiting and effort > 0:
        one = waiting.popleft()
        if does(one):
            waiting.append(one)
            effort -= _DONE
        else:
            effort -= 1
    return bool(waiting)


__all__ = ["in_rounds"]

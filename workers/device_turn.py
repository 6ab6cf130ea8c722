"""Turns at a process's device: one batch is denoised at a time, and its decoding runs beside the next one's denoising.

Knows nothing of models. Whoever has only work left that may run beside another's gives its turn up early.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Manner = Literal["whole", "shared", "alone"]


class Stay:
    """One caller's time at the device.

    Attributes
    ----------
    had_company : bool
        Whether others were at the device meanwhile, and took some of its memory.
    """

    def __init__(self, holds_on: bool) -> None:
        self.had_company = False
        self._holds_on = holds_on
        self._has_turn = True

    @property
    def may_end_early(self) -> bool:
        """Whether there is a turn that can be given up now."""
        return self._has_turn and not self._holds_on

    def end(self) -> bool:
        """Give the turn up, and return whether there was one."""
        had, self._has_turn = self._has_turn, False
        return had


class DeviceTurn:
    """Hands out turns at one device."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._stays: list[Stay] = []
        self._mine = threading.local()

    @contextmanager
    def taken(self, manner: Manner = "whole") -> Iterator[Stay]:
        """Wait for the turn and hold it; not to be nested in one thread.

        Parameters
        ----------
        manner : Manner
            "whole" holds it to the end, "shared" until `end_early`, and "alone" also waits until nobody is at the
            device any more.
        """
        self._turn.acquire()
        if manner == "alone":
            self.wait_until_alone()
        stay = Stay(holds_on=manner != "shared")
        self._mine.stay = stay
        try:
            with self._staying(stay):
                yield stay
        finally:
            self._mine.stay = None
            if stay.end():
                self._turn.release()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Be at the device without a turn, beside whoever has it."""
        with self._staying(Stay(holds_on=False)):
            yield

    def end_early(self) -> None:
        """Let the next one begin; does nothing for a thread without a turn that may end early."""
        stay = getattr(self._mine, "stay", None)
        if stay is not None and stay.may_end_early and stay.end():
            self._turn.release()

    def wait_until_alone(self) -> None:
        """Wait until nobody else is at the device; only for the thread that has the turn, so that nobody comes."""
        mine = getattr(self._mine, "stay", None)
        with self._changed:
            self._changed.wait_for(lambda: all(stay is mine for stay in self._stays))

    @contextmanager
    def _staying(self, stay: Stay) -> Iterator[None]:
        with self._changed:
            self._stays.append(stay)
            if len(self._stays) > 1:
                for one in self._stays:
                    one.had_company = True
        try:
            yield
        finally:
            with self._changed:
                self._stays.remove(stay)
                self._changed.notify_all()


_turn = DeviceTurn()


def device_turn() -> DeviceTurn:
    """Return this process's turns."""
    return _turn

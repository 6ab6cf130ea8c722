"""Batches that say how many of them were taken."""

from __future__ import annotations

from collections.abc import Iterator

from pressrun.batch import Batch


class Counted:
    """Batches, and how many of them were taken so far."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.taken = 0

    def __iter__(self) -> Counted:
        return self

    def __next__(self) -> Batch:
        batch = next(self._batches)
        self.taken += 1
        return batch

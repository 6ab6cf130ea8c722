"""Models taking turns: pictures of the next begin only once all batches of the one before are on their way.

Knows nothing of batches or models beyond their order. Two shards are open at once; where memory has room for one model
only, shards of two models would have every worker load them in turn for each batch.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pressrun.plan import Shard

Item = TypeVar("Item")


class Turns:
    """Who may submit batches: shards of one model, then those of the next.

    Parameters
    ----------
    shards : sequence of Shard
        All of a run, each with the rows of one model, begun in this order.
    """

    def __init__(self, shards: Sequence[Shard] = ()) -> None:
        self._to_pass = {shard.number: shard.model for shard in shards}
        self._left = Counter(self._to_pass.values())  # shards with batches to submit, by model in their order
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, shard: Shard) -> Iterator[None]:
        """Wait for the shard's turn, and have passed it at the end, whatever that is."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_held_up(shard))
        try:
            yield
        finally:
            self.have_passed(shard)

    def passing(self, shard: Shard, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the shard's batches, and pass the turn after the last."""
        yield from items
        self.have_passed(shard)

    def have_passed(self, shard: Shard) -> None:
        """Hold nobody up for a shard any longer: it has no more batches, or will never have any."""
        with self._changed:
            model = self._to_pass.pop(shard.number, None)
            if model is not None:
                self._left[model] -= 1
                self._changed.notify_all()

    def _is_held_up(self, shard: Shard) -> bool:
        for model, left in self._left.items():
            if model == shard.model:
                return False
            if left:
                return True
        return False

"""Workers that come while others are at work already: each is warmed as soon as it is there.

Knows nothing of how workers are started. Warming a worker that is warm costs next to nothing, so nobody keeps a list.
"""

from __future__ import annotations

from typing import Any

from distributed import Client, Future, wait

from pressrun.batch import Batch
from workers.order import PrintOrder
from workers.warming import warm_worker
from workers.wishes import addresses, submit_to

_POLL_S = 0.25


class Newcomers:
    """Warms workers as they come.

    Parameters
    ----------
    client : distributed.Client
        The cluster; workers that take tasks now count as known.
    order : PrintOrder
        The standing instructions.
    sample : Batch
        As for `workers.warming.warm_worker`.
    """

    def __init__(self, client: Client, order: PrintOrder, sample: Batch) -> None:
        self._client, self._order, self._sample = client, order, sample
        self._known = set(addresses(client))
        self._warming: list[Future] = []  # a future that nobody holds is forgotten, and its task with it

    def result(self, future: Future) -> Any:
        """Return a task's result, and meanwhile warm whoever comes; one that fails to warm fails later, by name."""
        while not future.done():
            self._greet()
            try:
                wait(future, timeout=_POLL_S)
            except TimeoutError:
                continue
        return future.result()

    def _greet(self) -> None:
        come = set(addresses(self._client)) - self._known
        self._known |= come
        self._warming += warm_all(self._client, sorted(come), self._order, self._sample)


def warm_all(client: Client, places: list[str], order: PrintOrder, sample: Batch) -> list[Future]:
    """Have workers warm themselves, and return a future of a `workers.warming.Warmth` for each."""
    return [submit_to(client, place, warm_worker, order, sample) for place in places]

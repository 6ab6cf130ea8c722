"""What a plan will cost: worker-seconds, wall time, money.

Knows nothing of how speeds were measured; arithmetic only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected cost of generating some images.

    Parameters
    ----------
    images : int
        Pictures to render.
    worker_s : float
        Seconds of worker time in all.
    workers : int
        Workers that share it.
    price_per_worker_hour : float or None
        Money a worker costs an hour, in whatever currency the user thinks in; None when not known.
    """

    images: int
    worker_s: float
    workers: int
    price_per_worker_hour: float | None = None

    @property
    def wall_s(self) -> float:
        """Seconds until done, when the workers share the work evenly."""
        return self.worker_s / self.workers

    @property
    def cost(self) -> float | None:
        """Money, or None when no price is known."""
        if self.price_per_worker_hour is None:
            return None
        return self.worker_s / 3600 * self.price_per_worker_hour


def remaining_s(done: int, total: int, elapsed_s: float) -> float | None:
    """Return the expected seconds until `total` are done at the rate so far; None before the first is done."""
    if done == 0:
        return None
    return elapsed_s * (total - done) / done


def useful_workers(batches: int, largest: int) -> int:
    """Return how many workers the backlog keeps busy, at least 1 and at most `largest`."""
    return max(1, min(batches, largest))

"""How long a run still takes, and how many workers its backlog keeps busy.

Knows nothing of how speeds were measured; arithmetic only.
"""

from __future__ import annotations


def remaining_s(done: int, total: int, elapsed_s: float) -> float | None:
    """Return the expected seconds until `total` are done at the rate so far; None before the first is done."""
    if done == 0:
        return None
    return elapsed_s * (total - done) / done


def useful_workers(batches: int, largest: int) -> int:
    """Return how many workers the backlog keeps busy, at least 1 and at most `largest`."""
    return max(1, min(batches, largest))

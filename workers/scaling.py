"""How many workers a run gets.

Knows nothing of how workers start; the fleet does that.
"""

from __future__ import annotations

from pressrun.forecast import useful_workers
from pressrun.plan import count_batches
from pressrun.run import Run
from workers.fleet import Fleet
from workers.speed import Speed


def scale(run: Run, fleet: Fleet, speed: Speed) -> int:
    """Bring the fleet to as many workers as the backlog keeps busy, and return how many there are.

    Parameters
    ----------
    run : Run
        The run; nothing is started when it has nothing to do.
    fleet : Fleet
        Its open workers.
    speed : Speed
        Batch sizes, from which the number of batches follows.
    """
    if run.is_idle:
        return 0
    batches = count_batches(run.plan.todo, speed.batch_sizes)
    run.ledger.workers = fleet.scale(min(useful_workers(batches, fleet.largest), run.job.workers or fleet.largest))
    return run.ledger.workers

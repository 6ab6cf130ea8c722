"""A golden set drawn by the workers of a release: an ordinary collection, without an index and without a report.

Knows nothing of what the pictures are for.
"""

from __future__ import annotations

from pressrun.batch_sizes import BatchSizes
from pressrun.errors import StageFailed
from pressrun.job import Job
from pressrun.plan import Shard, shapes
from pressrun.run import Run, open_run
from workers.fleet import Fleet
from workers.generation import generate
from workers.provisioning import provision
from workers.speed import Speed
from workers.window import open_window


def write_golden(job: Job, run_id: str, fleet: Fleet) -> int:
    """Draw what a golden set lacks, and return how many pictures that were.

    Parameters
    ----------
    job : Job
        The golden set; its pictures are drawn at the job's batch size, else one by one.
    run_id : str
        Names the run in rows and folders.
    fleet : Fleet
        The workers; opened here if they are not, closed by the caller.

    Raises
    ------
    StageFailed
        When a picture cannot be drawn; the others are kept, and the next try draws the rest.
    """
    run = open_run(job, run_id)
    try:
        if run.is_idle:
            return 0
        order = provision(run, fleet)
        sizes = BatchSizes(dict.fromkeys(shapes(run.plan.todo), job.batch_size or 1))
        window = open_window(fleet, order, fleet.largest)
        images = generate(run, Shard(0, 0, run.plan.todo.num_rows), Speed(sizes), window)
        _check_whole(run)
        return images
    finally:
        run.close()


def _check_whole(run: Run) -> None:
    letters = run.ledger.failures.values()
    if letters:
        first = next(iter(letters))
        raise StageFailed(
            f"{len(letters)} of {run.plan.todo.num_rows} golden pictures could not be drawn, the first for "
            f"{first.error_type}: {first.error}. Mend or leave out their prompts and release again."
        )

"""Stage 3, scale out: as many workers as the backlog keeps busy."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.run import Run
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.fleet import Fleet
from workers.scaling import scale
from workers.speed import Speed


@task(
    name="scale out",
    task_run_name="scale out for {run.plan.todo.num_rows} images",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=3600,
    cache_policy=NO_CACHE,
)
def scale_out(run: Run, fleet: Fleet, speed: Speed) -> int:
    """Bring the fleet to its working size."""
    with stage(run, "scale out", "starting the other workers"):
        workers = scale(run, fleet, speed)
    log_line(f"{workers} workers")
    return workers

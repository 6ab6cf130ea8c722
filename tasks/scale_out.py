"""Stage 3, scale out: the job is quoted, and gets as many workers as its terms ask for or its backlog keeps busy."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.run import Run
from tasks.quote_artifact import show_quote
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.quoting import quote_run
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
def scale_out(run: Run, fleet: Fleet, order: PrintOrder, speed: Speed) -> int:
    """Quote the job, refuse it if its terms cannot be met, and bring the fleet to its working size."""
    with stage(run, "scale out", "quoting the job, starting the other workers"):
        quote = quote_run(run, fleet, speed)
        show_quote(quote)
        workers = scale(run, fleet, order, speed, quote)
    log_line(f"{workers} workers")
    return workers

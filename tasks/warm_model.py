"""Stage 2, warm model: weights in memory, one small batch drawn, the batch size settled."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.run import Run
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from tasks.traffic_artifact import show_new_traffic
from workers.each_model import warm_models
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.speed import Speed


@task(
    name="warm model",
    task_run_name="warm {run.model_names}",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=2 * 3600,
    cache_policy=NO_CACHE,
)
def warm_model(run: Run, fleet: Fleet, order: PrintOrder) -> Speed:
    """Warm the workers with every model in turn and settle the batch sizes."""
    with stage(run, "warm model", "loading the model, measuring batch sizes"):
        speed = warm_models(run, fleet, order)
        show_new_traffic(run.ledger, "warm model")
    for name, one in (speed.others or {"": speed}).items():
        sizes = ", ".join(f"{size} at {width} x {height} px" for (width, height), size in one.batch_sizes.most.items())
        log_line(f"batch size {f'for {name} ' if name else ''}{sizes or 'not needed'}")
    return speed

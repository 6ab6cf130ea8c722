"""Stage 1b, check quality: engine options on trial against the plain engine, before the run relies on them."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.run import Run
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.each_model import accept_models_options
from workers.fleet import Fleet
from workers.order import PrintOrder


@task(
    name="check quality",
    task_run_name="check the options of {run.model_names}",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=2 * 3600,
    cache_policy=NO_CACHE,
)
def check_quality(run: Run, fleet: Fleet, order: PrintOrder) -> PrintOrder:
    """Return the order to print by: as asked, or with the plain engine."""
    with stage(run, "check quality", "trying the engine options"):
        order = accept_models_options(run, fleet, order)
    for trial in run.ledger.trials:
        log_line(f"{trial.name}: {trial.effect}")
    return order

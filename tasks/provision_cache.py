"""Stage 1, provision cache: the cluster at its smallest size, the weights on its hosts."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.model_parts import parts_of
from pressrun.run import Run
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from tasks.traffic_artifact import show_traffic, showing_bring
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.provisioning import provision


@task(
    name="provision cache",
    task_run_name="provision cache for {run.model_names}",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=4 * 3600,
    cache_policy=NO_CACHE,
)
def provision_cache(run: Run, fleet: Fleet) -> PrintOrder:
    """Open the fleet and bring the weights to its hosts."""
    with stage(run, "provision cache", "opening workers, bringing the weights to them"):
        with showing_bring():
            order = provision(run, fleet)
    weight_bytes = sum(order.of(name).weight_bytes for name in parts_of(run))
    log_line(f"{weight_bytes / 1e6:.1f} MB of weights in place, {run.ledger.origin_bytes} bytes copied")
    show_traffic(run.ledger.traffic)
    return order

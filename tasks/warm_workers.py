"""Stage 3 of a release, warm workers: the new revision loaded by every worker, one small picture drawn by each."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.release.release import Release
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.fleet import Fleet
from workers.releasing import warm


@task(
    name="warm workers",
    task_run_name="warm workers with {release.facts.name}",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=2 * 3600,
    cache_policy=NO_CACHE,
)
def warm_workers(release: Release, fleet: Fleet) -> int:
    """Have every worker load the new revision, and return how many there are."""
    with stage(release, "warm workers", "loading the model on every worker"):
        workers = warm(release, fleet)
    log_line(f"{workers} workers are warm")
    return workers

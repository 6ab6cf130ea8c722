"""Stage 4a of a release, write golden: the golden pictures of a first release, where that is asked for."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.release.release import Release
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers import golden_writing
from workers.fleet import Fleet


@task(
    name="write golden",
    task_run_name="write golden pictures with {release.facts.name}",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=2 * 3600,
    cache_policy=NO_CACHE,
)
def write_golden(release: Release, fleet: Fleet) -> int:
    """Draw the golden pictures that are missing, if that was asked for; those of other revisions stay as they are."""
    job = release.order.golden_job
    if job is None or not release.writes_golden:
        log_line("the golden set is there already")
        return 0
    with stage(release, "write golden", "drawing the golden pictures"):
        release.written += golden_writing.write_golden(job, release.run_id, fleet)
    log_line(f"{release.written} golden pictures drawn")
    return release.written

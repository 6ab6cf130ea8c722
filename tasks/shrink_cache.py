"""Stage 5 of a release, shrink cache: always runs, and closes the fleet. Doing it twice does no harm."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from pressrun.release.release import Release, ReleaseSummary, summarise
from tasks.run_log import log_line
from workers.cache.release import shrink
from workers.fleet import Fleet
from workers.run_end import leave_workers


# The runner kills a process 30 s after it asked it to end, so there is no time for retries.
@task(name="shrink cache", task_run_name="shrink cache", timeout_seconds=25, cache_policy=NO_CACHE)
def shrink_cache(release: Release, fleet: Fleet) -> ReleaseSummary:
    """Bring the caches back to their budgets; a revision that was not accepted goes."""
    try:
        with release.ledger.stage("shrink cache", "giving back room, closing workers"):
            _shrink(release, fleet)
    finally:
        fleet.close()
    summary = summarise(release)
    log_line(f"{'accepted' if summary.accepted else 'not accepted'}; {summary.freed_bytes} bytes dropped from caches")
    return summary


def _shrink(release: Release, fleet: Fleet) -> None:
    if not release.caches or not release.size_bytes:  # nothing was brought, or it is used where it lies
        return
    try:
        client, folder = fleet.open(), release.order.cache_folder
        leave_workers(fleet, release.run_id)
        release.freed_bytes += shrink(client, folder, release.caches, release.facts.revision, release.is_accepted)
    except Exception as error:  # it must not hide why the release ended; caches make room when they need it
        log_line(f"the caches could not be shrunk ({type(error).__name__}: {error})")

"""Stage 1 of a release, grow cache: room for the new revision on every host, beside those in use."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.release.release import Release
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.cache.release import grow
from workers.fleet import Fleet
from workers.releasing import open_fleet


@task(
    name="grow cache",
    task_run_name="grow cache for {release.facts.name}",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=3600,
    cache_policy=NO_CACHE,
)
def grow_cache(release: Release, fleet: Fleet) -> int:
    """Open the fleet and make room on its hosts, and return how many hosts there are."""
    with stage(release, "grow cache", "opening workers, making room on their hosts"):
        client = open_fleet(release, fleet)
        release.caches = grow(client, release.order.cache_folder, release.facts.revision, release.size_bytes)
    held_bytes = sum(cache.held_bytes for cache in release.caches)
    log_line(
        f"{len(release.caches)} hosts hold {held_bytes / 1e6:.1f} MB and have room for {release.size_bytes / 1e6:.1f} "
        "MB more each"
    )
    return len(release.caches)

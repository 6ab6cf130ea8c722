"""Stage 2 of a release, preload: the new revision on every host, before anybody waits for it."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.release.release import Release
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.fleet import Fleet
from workers.releasing import preload


@task(
    name="preload",
    task_run_name="preload {release.facts.name}",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=4 * 3600,
    cache_policy=NO_CACHE,
)
def preload_model(release: Release, fleet: Fleet) -> int:
    """Bring the new revision to the hosts, and return the bytes read from the origin, or through mounts."""
    with stage(release, "preload", "bringing the weights to every host"):
        read_bytes = preload(release, fleet)
    release.preloaded_bytes += read_bytes
    done = "read through mounts, nothing copied," if release.order.cache.runtime == "mount" else "copied"
    log_line(f"{read_bytes} bytes {done} on {len(release.caches)} hosts")
    return read_bytes

"""Stage 0 of a release, open release: everything that can be refused is refused here, before a worker is started."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from pressrun.progress import News, tell
from pressrun.release import release as releases
from pressrun.release.release import Release, ReleaseOrder
from tasks.run_log import log_line


# No retries: a release that is refused once is refused again.
@task(name="open release", task_run_name="check model and golden set", timeout_seconds=3600, cache_policy=NO_CACHE)
def open_release(order: ReleaseOrder, run_id: str) -> Release:
    """Read the new revision and the golden set."""
    tell(News("open release", "reading model and golden set"))
    release = releases.open_release(order, run_id)
    log_line(
        f"{release.facts.name}, revision {release.facts.revision[:12]}, {release.facts.weight_bytes / 1e6:.1f} MB of "
        f"weights; {release.requests.num_rows} golden pictures, {release.rows.num_rows} of them drawn"
    )
    return release

"""Stage 4 of a release, check golden: the golden pictures drawn again by the new revision and compared."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.tasks import exponential_backoff

from pressrun.errors import ReleaseRefused
from pressrun.release.release import Release
from pressrun.release.verdict import Verdict
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.fleet import Fleet
from workers.releasing import check


@task(
    name="check golden",
    task_run_name="check {release.facts.name} against golden pictures",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=2 * 3600,
    cache_policy=NO_CACHE,
)
def check_golden(release: Release, fleet: Fleet) -> Verdict:
    """Compare what the new revision draws with the golden set; raise ReleaseRefused where it differs too much."""
    with stage(release, "check golden", "drawing the golden pictures again"):
        release.read_golden()
        verdict = release.verdict = check(release, fleet)
    log_line(verdict.line)
    if FlowRunContext.get() is not None:
        create_markdown_artifact(verdict.table(), key="golden", description=verdict.line)
    if not verdict.is_accepted:
        raise ReleaseRefused(verdict.refusal(f"{release.facts.name}, revision {release.facts.revision[:12]}"))
    return verdict

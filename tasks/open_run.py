"""Stage 0, open run: everything that can be refused is refused here, before a GPU is touched."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from pressrun import run as runs
from pressrun.job import Job
from pressrun.progress import News, tell
from pressrun.run import Run
from tasks.run_log import log_line


# No retries: a job that is refused once is refused again.
@task(name="open run", task_run_name="check and plan", timeout_seconds=6 * 3600, cache_policy=NO_CACHE)
def open_run(job: Job, run_id: str) -> Run:
    """Check the job, plan it and claim its collection."""
    tell(News("open run", "reading prompts and model"))
    run = runs.open_run(job, run_id)
    plan = run.plan
    log_line(
        f"{plan.requests.num_rows} images asked for: {plan.todo.num_rows} to render, {plan.held} held already, "
        f"{run.ledger.reused} of these taken over, {plan.duplicates} duplicates"
    )
    if run.library.refusal:
        log_line(run.library.refusal)
        tell(News("open run", note=run.library.refusal))
    return run

"""Stage 6, tear down: always runs, after success, failure, cancellation and SIGTERM. Doing it twice does no harm."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from pressrun.manifest import compact_leftovers, is_compacting
from pressrun.report.account import write_account
from pressrun.run import Run
from pressrun.summary import RunSummary, summarise
from tasks.account_artifacts import show_account
from tasks.run_log import log_line
from workers.fleet import Fleet
from workers.run_end import leave_workers
from workers.weights.run_pool import empty_pool


# The runner kills a process 30 s after it asked it to end, so there is no time for retries.
@task(name="tear down", task_run_name="tear down", timeout_seconds=25, cache_policy=NO_CACHE)
def tear_down(run: Run, fleet: Fleet) -> RunSummary:
    """Close the fleet, write the run's account, give the collection free."""
    try:
        with run.ledger.stage("tear down", "closing workers"):
            leave_workers(fleet, run.run_id)
            fleet.close()
            empty_pool()
        summary = summarise(run)
        run.note("summary.json", summary.record())
        if run.holds_claim and not is_compacting():  # a shard that is still at it leaves what it cannot finish
            compact_leftovers(run.store)  # of batches that were finished while the run was already ending
        if run.holds_claim and not run.is_idle:  # a run with nothing to do leaves the last report standing
            show_account(write_account(run, summary), run.store)
    finally:
        run.close()
    log_line(f"{summary.outcome.value}: {summary.done} rendered, {summary.failed} failed, {summary.held} held before")
    return summary

"""The quote for a run: its work, its speed and its fleet brought together.

Knows nothing of the arithmetic, nor of who reads the quote.
"""

from __future__ import annotations

from pressrun.draft import picture_revision
from pressrun.errors import QuoteRefused
from pressrun.model_parts import parts_of
from pressrun.quote import Crew, Quote, Terms, make_quote
from pressrun.run import Run
from pressrun.workload import Workload, all_together, workload
from workers.fleet import Fleet
from workers.speed import Speed

QUOTE = "quote.json"


def quote_run(run: Run, fleet: Fleet, speed: Speed) -> Quote | None:
    """Quote a run whose speed was measured, and write the quote beside its plan.

    Parameters
    ----------
    run : Run
        The run, its model warm.
    fleet : Fleet
        Its open workers.
    speed : Speed
        What was measured.

    Returns
    -------
    Quote or None
        None when there is nothing to do, or when nobody asked and no speed is known.

    Raises
    ------
    QuoteRefused
        When there is a deadline or a budget and the speed of some picture size is not known.
    """
    if run.is_idle:
        return None
    job, ledger = run.job, run.ledger
    work = all_together(_workload(part, speed.of(name)) for name, part in parts_of(run).items())
    if work is None:
        if job.has_terms:
            raise QuoteRefused(_unmeasured(run))
        return None
    crew = Crew(fleet.largest, ledger.ready_workers, ledger.start_s, ledger.elapsed_s, job.price_per_worker_hour)
    ledger.quote = make_quote(work, crew, Terms(job.workers, job.deadline_s, job.budget))
    run.note(QUOTE, ledger.quote.record())
    return ledger.quote


def _workload(part: Run, speed: Speed) -> Workload | None:
    """Return what the pictures of one model amount to."""
    revision = picture_revision(part.facts, part.job.engine)
    measured = [profile for profile in part.ledger.profiles if profile.model_revision == revision]
    return workload(part.plan.todo, {profile.shape: profile for profile in measured}, speed.batch_sizes)


def _unmeasured(run: Run) -> str:
    at = f"in batches of {run.job.batch_size}" if run.job.batch_size else "one by one"
    return (
        f"Whether {run.plan.todo.num_rows} images meet the deadline or budget cannot be told: some picture size could "
        f"not be measured {at}, see the workers' log. Nothing was generated; leave out that size, give a smaller batch "
        "size, or drop deadline and budget."
    )

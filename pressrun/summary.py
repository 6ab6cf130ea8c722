"""How a run ended, in one small record.

Knows nothing of reports; this is what a caller of the flow gets back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from pressrun.cache.traffic_report import TrafficReport
from pressrun.ledger import Ledger
from pressrun.run import Run


class Outcome(StrEnum):
    """How a run ended."""

    complete = "complete"
    partial = "partial"  # some requests are in failures/
    unfinished = "unfinished"  # stopped or failed before every request was tried


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The end of a run.

    Parameters
    ----------
    run_id : str
        The run.
    collection : str
        Where the pictures are, without credentials.
    outcome : Outcome
        How it ended.
    asked, duplicates, held, reused, done, failed : int
        Images asked for, asked for twice, held before, of these taken over from other collections, rendered now, given
        up.
    wall_s : float
        Seconds from the first check of the job, reading and planning included, to tear-down.
    images_per_s : float
        Rendered images by the time of the generate stage; 0 when nothing was rendered.
    worker_hours : float
        Workers times the time for which the run held them, from the opening of the first to tear-down.
    cost : float or None
        Worker-hours by price; None when no price is known.
    traffic : TrafficReport or None
        How the models' files came to the hosts; None where nothing had to be brought.
    """

    run_id: str
    collection: str
    outcome: Outcome
    asked: int
    duplicates: int
    held: int
    reused: int
    done: int
    failed: int
    wall_s: float
    images_per_s: float
    worker_hours: float
    cost: float | None
    traffic: TrafficReport | None = None

    def record(self) -> dict[str, object]:
        """Return the summary as JSON values."""
        traffic = None if self.traffic is None else self.traffic.record()
        return asdict(self) | {"outcome": self.outcome.value, "traffic": traffic}


def summarise(run: Run) -> RunSummary:
    """Return how a run stands now."""
    counts = run.ledger.counts
    generating_s = run.ledger.stages.get("generate batches", 0.0)
    hours = _worker_s(run.ledger) / 3600
    price = run.job.price_per_worker_hour
    return RunSummary(
        run_id=run.run_id,
        collection=str(run.job.collection),
        outcome=_outcome(counts.done, counts.failed, counts.total),
        asked=run.plan.requests.num_rows,
        duplicates=run.plan.duplicates,
        held=run.plan.held,
        reused=run.ledger.reused,
        done=counts.done,
        failed=counts.failed,
        wall_s=run.ledger.elapsed_s,
        images_per_s=counts.done / generating_s if generating_s and counts.done else 0.0,
        worker_hours=hours,
        cost=None if price is None else hours * price,
        traffic=run.ledger.traffic,
    )


def _worker_s(ledger: Ledger) -> float:
    """Return the worker-seconds of a run: waiting for the model, the others or the index is paid for too."""
    opened_s = sum(ledger.stages.get(name, 0.0) for name in ("provision cache", "warm model"))
    held_s = sum(ledger.stages.get(name, 0.0) for name in ("scale out", "generate batches", "index outputs"))
    return max(ledger.ready_workers, ledger.coming_workers) * opened_s + ledger.workers * held_s


def _outcome(done: int, failed: int, total: int) -> Outcome:
    if done + failed < total:
        return Outcome.unfinished
    return Outcome.partial if failed else Outcome.complete

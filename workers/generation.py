"""Generating one shard: batches through the window, rows into parts, dead letters aside.

Knows nothing of the other shards. Running a shard again generates only what is not committed.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pressrun import failures, manifest
from pressrun.failures import Failure
from pressrun.plan import Shard, cut_batches
from pressrun.run import Run
from workers.printing import Receipt
from workers.speed import Speed
from workers.turns import Turns
from workers.window import Window


def generate(run: Run, shard: Shard, speed: Speed, window: Window, turns: Turns | None = None) -> int:
    """Generate what is missing of a shard and return how many images it committed.

    Parameters
    ----------
    run : Run
        The run.
    shard : Shard
        Which slice of the plan.
    speed : Speed
        Batch sizes.
    window : Window
        The run's shared window.
    turns : Turns or None
        The run's, by which models come one after the other; None begins at once.

    Raises
    ------
    CollectionBusy
        When another run took the collection over.
    RunCancelled, StageFailed
        As `Window.receipts`; what finished before stays committed.
    """
    if run.ledger.is_closed(shard.number):
        return 0
    requests = run.plan.todo.slice(shard.start, shard.stop - shard.start)
    receipts: list[tuple[str, pa.Table]] = []
    letters: list[Failure] = []
    turns = turns or Turns()
    batches = turns.passing(shard, cut_batches(_missing(run, requests), speed.of(shard.model).batch_sizes))
    try:
        with turns.taking(shard):
            for receipt in window.receipts(batches):
                run.check_claim()
                _enter(run, receipt)
                receipts.append((receipt.batch_id, receipt.rows))
                letters.extend(receipt.failures)
    finally:
        if run.holds_claim:  # else the receipts are for the run that took over to compact
            manifest.compact(run.store, [receipt for receipt in receipts if receipt[1].num_rows], run.check_claim)
            failures.write_failures(run.store, f"{run.run_id}-{shard.number:05d}", requests, letters, run.run_id)
    run.ledger.close_shard(shard.number, requests.column("image_id").to_pylist())
    return sum(rows.num_rows for _, rows in receipts)


def _missing(run: Run, requests: pa.Table) -> pa.Table:
    """Return the requests that no earlier attempt at the shard has committed to a part."""
    done = run.ledger.done_ids()
    if not done:
        return requests
    return requests.filter(pc.invert(pc.is_in(requests.column("image_id"), value_set=pa.array(done, pa.string()))))


def _enter(run: Run, receipt: Receipt) -> None:
    run.ledger.add(receipt.rows.column("image_id").to_pylist(), receipt.failures, (receipt.render_s, receipt.publish_s))
    run.ledger.halvings += receipt.halvings

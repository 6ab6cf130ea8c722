"""How many workers a run gets; each is warm before it is given work.

Knows nothing of how workers start; the fleet does that.
"""

from __future__ import annotations

from pressrun.errors import QuoteRefused
from pressrun.forecast import useful_workers
from pressrun.model_parts import parts_of
from pressrun.plan import count_batches, shapes
from pressrun.quote import Quote
from pressrun.quote_wording import refusal
from pressrun.run import Run
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.speed import Speed, sample_of, warm_up


def scale(run: Run, fleet: Fleet, order: PrintOrder, speed: Speed, quote: Quote | None) -> int:
    """Bring the fleet to its working size, every worker warm, and return how many there are.

    Parameters
    ----------
    run : Run
        The run; nothing is started when it has nothing to do.
    fleet : Fleet
        Its open workers.
    order : PrintOrder
        The standing instructions.
    speed : Speed
        Batch sizes, from which the number of batches follows.
    quote : Quote or None
        Decides the count; without one it is as many as the backlog keeps busy.

    Raises
    ------
    QuoteRefused
        When the quote has no choice, before anything is started.
    StageFailed
        When no worker starts, or one of them cannot draw.
    """
    if run.is_idle:
        return 0
    if quote is not None and quote.chosen is None:
        raise QuoteRefused(refusal(quote))
    run.ledger.workers = fleet.scale(quote.chosen.workers if quote and quote.chosen else _useful(run, fleet, speed))
    name, first = next(iter(parts_of(run).items()))
    warm_up(fleet.open(), order.of(name), sample_of(first, next(iter(shapes(first.plan.todo)))))
    return run.ledger.workers


def _useful(run: Run, fleet: Fleet, speed: Speed) -> int:
    parts = parts_of(run).items()
    batches = sum(count_batches(part.plan.todo, speed.of(name).batch_sizes) for name, part in parts)
    return min(useful_workers(batches, fleet.largest), run.job.workers or fleet.largest)

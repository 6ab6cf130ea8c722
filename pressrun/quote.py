"""What a job will take, time and money by worker count, and the count that its terms ask for.

Knows nothing of how speeds were measured or how workers start. The index and the report, which follow the last
picture, are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from pressrun.forecast import useful_workers
from pressrun.workload import Workload

_MOST_IN_FULL = 8


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers that a job can have.

    Parameters
    ----------
    largest : int
        The most there can be.
    ready : int
        How many could begin at once.
    start_s : float
        Seconds until others are ready as well; the ready ones are taken to wait for them.
    spent_s : float
        Seconds since the job was opened.
    price_per_worker_hour : float or None
        Money a worker costs an hour, whether it draws or idles; None when not known.
    """

    largest: int
    ready: int
    start_s: float = 0.0
    spent_s: float = 0.0
    price_per_worker_hour: float | None = None

    def waiting_s(self, workers: int) -> float:
        """Return the seconds until that many workers can begin."""
        return self.start_s if workers > self.ready else 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What the user asked for.

    Parameters
    ----------
    workers : int or None
        Just that many workers; None leaves the count to the other terms.
    deadline_s : float or None
        Seconds from the opening of the job to its last picture.
    budget : float or None
        Money for all of it.
    """

    workers: int | None = None
    deadline_s: float | None = None
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What one worker count would take.

    Parameters
    ----------
    workers : int
        The count.
    wall_s : float
        Seconds from now to the last picture.
    worker_s : float
        Worker-seconds to pay for: those already spent, starting, drawing, idling at the end.
    cost : float or None
        Their price; None when no price is known.
    """

    workers: int
    wall_s: float
    worker_s: float
    cost: float | None


@dataclass(frozen=True, slots=True)
class Quote:
    """The offers for a job, and which of them its terms choose.

    Parameters
    ----------
    work : Workload
        What is left to draw.
    crew : Crew
        Who could draw it.
    terms : Terms
        What was asked for.
    offers : tuple of Offer
        By worker count, ascending from 1 to the most that have something to do; a ladder of counts when there are many.
    eligible : tuple of Offer
        What the choice was among: every count, or only the one that was asked for.
    chosen : Offer or None
        What the terms choose; None when they cannot be met.
    """

    work: Workload
    crew: Crew
    terms: Terms
    offers: tuple[Offer, ...]
    eligible: tuple[Offer, ...]
    chosen: Offer | None

    def is_in_time(self, offer: Offer) -> bool:
        """Return whether an offer meets the deadline, if there is one."""
        return self.terms.deadline_s is None or self.crew.spent_s + offer.wall_s <= self.terms.deadline_s

    def is_within_budget(self, offer: Offer) -> bool:
        """Return whether an offer is within the budget, if there is one; without a price none is."""
        return self.terms.budget is None or (offer.cost is not None and offer.cost <= self.terms.budget)

    def record(self) -> dict[str, object]:
        """Return the quote as JSON values."""
        return {
            "images": self.work.images,
            "batches": self.work.batches,
            "drawing_s": self.work.drawing_s,
            "crew": asdict(self.crew),
            "terms": asdict(self.terms),
            "offers": [asdict(offer) for offer in self.offers],
            "chosen_workers": self.chosen.workers if self.chosen else None,
        }


def make_quote(work: Workload, crew: Crew, terms: Terms) -> Quote:
    """Return what a job will take for each worker count, and the count to take.

    By a deadline that is the fewest workers which meet it, within the budget if there is one; by a budget alone the
    fastest count within it; without either as many as have something to do.

    Parameters
    ----------
    work : Workload
        What is left to draw; at least one batch.
    crew : Crew
        Who could draw it.
    terms : Terms
        What was asked for.
    """
    useful = useful_workers(work.batches, crew.largest)
    every = tuple(_offer(work, crew, workers) for workers in range(1, useful + 1))
    eligible = every if terms.workers is None else (every[min(terms.workers, useful) - 1],)
    open_quote = Quote(work, crew, terms, every, eligible, None)
    chosen = _choose(open_quote)
    shown = _ladder(useful) | ({chosen.workers} if chosen else set())
    return replace(open_quote, offers=tuple(offer for offer in every if offer.workers in shown), chosen=chosen)


def _offer(work: Workload, crew: Crew, workers: int) -> Offer:
    wall_s = crew.waiting_s(workers) + work.wall_s(workers)
    worker_s = crew.ready * crew.spent_s + workers * wall_s
    price = crew.price_per_worker_hour
    return Offer(workers, wall_s, worker_s, None if price is None else worker_s / 3600 * price)


def _choose(quote: Quote) -> Offer | None:
    kept = [offer for offer in quote.eligible if quote.is_in_time(offer) and quote.is_within_budget(offer)]
    if not kept:
        return None
    if quote.terms.deadline_s is not None:
        return kept[0]
    return kept[-1] if quote.terms.budget is None else fastest(kept)


def fastest(offers: Sequence[Offer]) -> Offer:
    """Return the offer that is done first; of equals the one with the fewest workers."""
    return min(offers, key=lambda offer: (offer.wall_s, offer.workers))


def _ladder(most: int) -> set[int]:
    """Return the worker counts to show: all of a few, else steps of a third to a half."""
    if most <= _MOST_IN_FULL:
        return set(range(1, most + 1))
    steps = {base << shift for base in (2, 3) for shift in range(most.bit_length())}
    return {1, most} | {workers for workers in steps if workers <= most}

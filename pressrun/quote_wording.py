"""A quote in words: one line for a log, a row an offer, and why terms cannot be met.

Knows nothing of how the quote was made, nor of where the words go.
"""

from __future__ import annotations

from bisect import bisect_left

from pressrun.quote import Offer, Quote, fastest
from pressrun.wording import amount, amount_that_suffices, count, duration, duration_that_suffices


def headline(quote: Quote) -> str:
    """Return the quote's numbers and its choice in one line."""
    work = quote.work
    size = f"{count(work.images, 'image')}, {duration(work.drawing_s)} of drawing"
    if quote.chosen is None:
        return f"{size}: refused"
    return f"{size}: {_said(quote.chosen)}{_by(quote)}"


def rows(quote: Quote) -> list[dict[str, str]]:
    """Return the offers as a table's rows: workers, time, worker time, money, and which is chosen."""
    return [_row(offer) | {"choice": "chosen" if offer == quote.chosen else ""} for offer in quote.offers]


def all_offers(quote: Quote) -> str:
    """Return every offer in one line, for a log."""
    return "; ".join(map(_said, quote.offers))


def refusal(quote: Quote) -> str:
    """Return why the terms of a quote without a choice cannot be met, with the numbers and the remedy."""
    in_time = [offer for offer in quote.eligible if quote.is_in_time(offer)]
    affordable = [offer for offer in quote.eligible if quote.is_within_budget(offer)]
    problems = []
    if in_time and affordable:
        problems.append(_not_together(quote, in_time, affordable))
    if not in_time:
        problems.append(_too_slow(quote))
    if not affordable:
        problems.append(_too_dear(quote))
    return f"{' '.join(problems)} Nothing was generated."


def _not_together(quote: Quote, in_time: list[Offer], affordable: list[Offer]) -> str:
    cheapest, quickest = min(in_time, key=_cost), fastest(affordable)
    return (
        f"The deadline of {_deadline(quote)} and the budget of {_budget(quote)} cannot both be met: in time is "
        f"{_said(cheapest)}, within the budget {_said(quickest)}. Give {amount_that_suffices(_cost(cheapest))} or "
        f"{_time_to_give(quote, quickest)}."
    )


def _too_slow(quote: Quote) -> str:
    best = fastest(quote.eligible)
    asked = " as asked for" if quote.terms.workers is not None else ", the fastest that this fleet can be"
    spent = f", after {duration_that_suffices(quote.crew.spent_s)} to get ready" if quote.crew.spent_s else ""
    more = _workers_in_time(quote)
    remedy = f", or {count(more, 'worker')}" if more is not None else ""
    return (
        f"The deadline of {_deadline(quote)} cannot be met: {count(quote.work.images, 'image')} take "
        f"{duration_that_suffices(best.wall_s)} on {count(best.workers, 'worker')}{asked}{spent}. Give "
        f"{_time_to_give(quote, best)}{remedy}."
    )


def _too_dear(quote: Quote) -> str:
    images = count(quote.work.images, "image")
    if quote.crew.price_per_worker_hour is None:
        return f"Whether {images} keep to the budget of {_budget(quote)} cannot be told; give a price per worker-hour."
    best = min(quote.eligible, key=_cost)
    least = amount_that_suffices(_cost(best))
    return (
        f"The budget of {_budget(quote)} cannot be kept: {images} cost {least} on {count(best.workers, 'worker')}"
        f"{' as asked for' if quote.terms.workers is not None else ', the cheapest'}, at "
        f"{amount(quote.crew.price_per_worker_hour)} a worker-hour. Give {least} or more."
    )


def _workers_in_time(quote: Quote) -> int | None:
    """Return how many workers would meet the deadline, be there so many or not; None when no number would."""
    crew, work = quote.crew, quote.work

    def is_in_time(workers: int) -> bool:
        wall_s = crew.waiting_s(workers) + work.wall_s(workers)
        return crew.spent_s + wall_s <= (quote.terms.deadline_s or 0.0)

    # More workers are never slower, but for the first beyond those that are ready, for whom the others wait.
    for counts in (range(1, crew.ready + 1), range(crew.ready + 1, work.batches + 1)):
        at = bisect_left(counts, True, key=is_in_time)
        if at < len(counts):
            return counts[at]
    return None


def _row(offer: Offer) -> dict[str, str]:
    cost = {} if offer.cost is None else {"cost": amount(offer.cost)}
    return {
        "workers": f"{offer.workers:,}",
        "wall time": duration(offer.wall_s),
        "worker time": duration(offer.worker_s),
    } | cost


def _said(offer: Offer) -> str:
    cost = "" if offer.cost is None else f", {amount(offer.cost)}"
    return f"{count(offer.workers, 'worker')} {duration(offer.wall_s)}{cost}"


def _by(quote: Quote) -> str:
    terms = quote.terms
    asked = [
        f"the deadline of {_deadline(quote)}" if terms.deadline_s is not None else "",
        f"the budget of {_budget(quote)}" if terms.budget is not None else "",
    ]
    return f", by {' and '.join(filter(None, asked))}" if any(asked) else ""


def _deadline(quote: Quote) -> str:
    return duration(quote.terms.deadline_s or 0.0)


def _budget(quote: Quote) -> str:
    return amount(quote.terms.budget or 0.0)


def _time_to_give(quote: Quote, offer: Offer) -> str:
    return f"{duration_that_suffices(quote.crew.spent_s + offer.wall_s)} or more"


def _cost(offer: Offer) -> float:
    return offer.cost or 0.0

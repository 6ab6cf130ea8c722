"""What people are told of a quote, and why their terms cannot be met."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.quote import Crew, Quote, Terms, make_quote
from pressrun.quote_wording import all_offers, headline, refusal, rows
from pressrun.wording import read_duration
from pressrun.workload import Load, Workload

HOUR_S = 3600.0
WORK = Workload(100, (Load(100, 360.0),))  # ten hours for one worker


def quote(terms: Terms | None = None, **crew: Any) -> Quote:
    return make_quote(WORK, Crew(**{"largest": 4, "ready": 4, "price_per_worker_hour": 2.0} | crew), terms or Terms())


def test_the_headline_tells_size_choice_and_terms() -> None:
    assert headline(quote()) == "100 images, 10 h of drawing: 4 workers 2 h 30 min, 20.00"
    by_deadline = headline(quote(Terms(deadline_s=5 * HOUR_S)))
    assert by_deadline == "100 images, 10 h of drawing: 2 workers 5 h, 20.00, by the deadline of 5 h"
    assert headline(quote(Terms(deadline_s=60))).endswith(": refused")
    assert "20.00" not in headline(quote(price_per_worker_hour=None))


def test_every_offer_is_a_row_and_one_is_chosen() -> None:
    shown = rows(quote(Terms(deadline_s=5 * HOUR_S)))
    assert shown[1] == {
        "workers": "2",
        "wall time": "5 h",
        "worker time": "10 h",
        "cost": "20.00",
        "choice": "chosen",
    }
    assert [row["choice"] for row in shown] == ["", "chosen", "", ""]
    assert "cost" not in rows(quote(price_per_worker_hour=None))[0]
    assert all_offers(quote()).startswith("1 worker 10 h, 20.00; 2 workers 5 h, 20.00; ")


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        (
            Terms(deadline_s=2 * HOUR_S),
            "The deadline of 2 h cannot be met: 100 images take 2 h 30 min on 4 workers, the fastest that this fleet "
            "can be. Give 2 h 30 min or more, or 5 workers.",
        ),
        (Terms(workers=2, deadline_s=3 * HOUR_S), "take 5 h on 2 workers as asked for"),
        (Terms(workers=2, deadline_s=3 * HOUR_S), "Give 5 h or more, or 4 workers."),
        (Terms(deadline_s=60), "Give 2 h 30 min or more. Nothing"),
        (
            Terms(budget=12),
            "The budget of 12.00 cannot be kept: 100 images cost 20.00 on 1 worker, the cheapest, at 2.00 a "
            "worker-hour. Give 20.00 or more.",
        ),
        (
            Terms(deadline_s=3.5 * HOUR_S, budget=12),
            "The budget of 12.00 cannot be kept",
        ),
        (Terms(deadline_s=HOUR_S, budget=12), "The deadline of 1 h cannot be met"),
        (Terms(deadline_s=HOUR_S, budget=12), "The budget of 12.00 cannot be kept"),
    ],
)
def test_a_refusal_names_the_term_the_numbers_and_the_remedy(terms: Terms, told: str) -> None:
    refused = refusal(quote(terms))
    assert told in refused
    assert refused.endswith("Nothing was generated.")


def test_the_time_that_went_by_before_is_told() -> None:
    refused = refusal(quote(Terms(deadline_s=2 * HOUR_S), spent_s=90.0))
    assert ", after 1 min 30 s to get ready. Give 2 h 32 min or more, or 6 workers." in refused


def test_terms_that_are_met_only_one_at_a_time_are_told_together() -> None:
    work = Workload(5, (Load(5, HOUR_S),))
    asked = make_quote(work, Crew(4, 4, price_per_worker_hour=1.0), Terms(deadline_s=2 * HOUR_S, budget=5))
    assert refusal(asked) == (
        "The deadline of 2 h and the budget of 5.00 cannot both be met: in time is 3 workers 2 h, 6.00, within the "
        "budget 1 worker 5 h, 5.00. Give 6.00 or 5 h or more. Nothing was generated."
    )


def test_a_budget_without_a_price_asks_for_the_price() -> None:
    assert "give a price per worker-hour" in refusal(quote(Terms(budget=5), price_per_worker_hour=None))


def test_fewer_workers_than_asked_for_are_the_remedy_where_starting_them_takes_too_long() -> None:
    asked = quote(Terms(workers=4, deadline_s=10.5 * HOUR_S), ready=1, start_s=10 * HOUR_S)
    assert "or 1 worker." in refusal(asked)


@given(
    st.lists(st.builds(Load, st.integers(1, 30), st.floats(0.1, 500)), min_size=1, max_size=4),
    st.builds(Crew, st.integers(1, 9), st.integers(1, 4), st.floats(0, 300), st.floats(0, 300), st.floats(0.1, 30)),
    st.floats(0.01, 0.99),
)
def test_what_a_refusal_asks_for_is_enough(loads: list[Load], crew: Crew, share: float) -> None:
    work = Workload(sum(load.batches for load in loads), tuple(loads))
    free = make_quote(work, crew, Terms())
    deadline_s = share * min(crew.spent_s + offer.wall_s for offer in free.eligible)
    asked = make_quote(work, crew, Terms(deadline_s=deadline_s))
    assert asked.chosen is None
    told = refusal(asked)
    enough_s = read_duration(told.partition("Give ")[2].partition(" or more")[0])
    assert make_quote(work, crew, Terms(deadline_s=enough_s)).chosen is not None
    workers = re.search(r", or (\d+) worker", told)
    if workers is not None:
        larger = Crew(int(workers[1]), crew.ready, crew.start_s, crew.spent_s)
        assert make_quote(work, larger, Terms(deadline_s=deadline_s)).chosen is not None


@given(st.builds(Load, st.integers(1, 30), st.floats(0.1, 500)), st.floats(0.01, 30), st.floats(0.001, 0.999))
def test_the_money_that_a_refusal_asks_for_is_enough(load: Load, price: float, share: float) -> None:
    work, crew = Workload(load.batches, (load,)), Crew(5, 5, price_per_worker_hour=price)
    asked = make_quote(work, crew, Terms(budget=share * work.drawing_s / 3600 * price))
    assert asked.chosen is None
    enough = float(refusal(asked).partition("Give ")[2].partition(" or more")[0].replace(",", ""))
    assert make_quote(work, crew, Terms(budget=enough * (1 + 1e-9))).chosen is not None

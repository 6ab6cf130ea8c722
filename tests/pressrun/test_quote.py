from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.quote import Crew, Quote, Terms, make_quote
from pressrun.workload import Load, Workload

HOUR_S = 3600.0
WORK = Workload(100, (Load(100, 360.0),))  # ten hours for one worker
CREW = Crew(largest=10, ready=10, price_per_worker_hour=2.0)
WORKS = st.lists(st.builds(Load, st.integers(1, 30), st.floats(0.1, 500)), min_size=1, max_size=4).map(
    lambda loads: Workload(sum(load.batches for load in loads), tuple(loads))
)
CREWS = st.builds(
    Crew, st.integers(1, 40), st.integers(1, 4), st.floats(0, 300), st.floats(0, 300), st.floats(0.01, 30)
)


def quote(terms: Terms | None = None, **crew: Any) -> Quote:
    return make_quote(WORK, replace(CREW, **crew), terms or Terms())


def chosen(asked: Quote) -> int | None:
    return asked.chosen.workers if asked.chosen else None


def test_every_worker_count_has_its_time_and_its_money() -> None:
    asked = quote()
    assert [offer.workers for offer in asked.offers] == [1, 2, 3, 4, 6, 8, 10]
    assert [offer.wall_s / HOUR_S for offer in asked.offers] == pytest.approx([10, 5, 3.4, 2.5, 1.7, 1.3, 1])
    # Idle workers at the end are paid for as well: three of them take 10.2 hours of work, not 10.
    assert [offer.cost for offer in asked.offers] == pytest.approx([20, 20, 20.4, 20, 20.4, 20.8, 20])
    assert chosen(asked) == 10


def test_a_large_fleet_is_shown_as_a_ladder_that_holds_the_choice() -> None:
    work = Workload(10_000, (Load(10_000, 360.0),))
    asked = make_quote(work, Crew(4096, 4096), Terms(deadline_s=10 * HOUR_S))
    counts = [offer.workers for offer in asked.offers]
    assert len(counts) <= 26
    assert counts == sorted(set(counts))
    assert {1, 2, 3, 4, 100, 4096} <= set(counts)
    assert chosen(asked) == 100


def test_workers_without_a_batch_are_not_quoted() -> None:
    asked = make_quote(Workload(3, (Load(3, 1.0),)), CREW, Terms(workers=8))
    assert [offer.workers for offer in asked.offers] == [1, 2, 3]
    assert chosen(asked) == 3


def test_without_a_price_there_is_no_cost_and_no_budget_can_be_kept() -> None:
    assert {offer.cost for offer in quote(price_per_worker_hour=None).offers} == {None}
    assert chosen(quote(Terms(budget=1000), price_per_worker_hour=None)) is None


@pytest.mark.parametrize(
    ("terms", "workers"),
    [
        (Terms(deadline_s=10 * HOUR_S), 1),
        (Terms(deadline_s=9.99 * HOUR_S), 2),
        (Terms(deadline_s=1.5 * HOUR_S), 7),
        (Terms(deadline_s=1 * HOUR_S), 10),
        (Terms(deadline_s=0.99 * HOUR_S), None),
        (Terms(budget=20), 10),
        (Terms(budget=19.99), None),
        (Terms(workers=4), 4),
        (Terms(workers=4, deadline_s=3 * HOUR_S), 4),
        (Terms(workers=4, deadline_s=2 * HOUR_S), None),
        (Terms(workers=3, budget=20.4), 3),
        (Terms(workers=3, budget=20.3), None),
        (Terms(deadline_s=3.4 * HOUR_S, budget=20.4), 3),
        (Terms(deadline_s=3.4 * HOUR_S, budget=20), 4),
    ],
)
def test_the_terms_choose(terms: Terms, workers: int | None) -> None:
    assert chosen(quote(terms)) == workers


def test_time_and_money_spent_before_count_against_the_terms() -> None:
    assert chosen(quote(Terms(deadline_s=5 * HOUR_S))) == 2
    assert chosen(quote(Terms(deadline_s=5 * HOUR_S), spent_s=600)) == 3
    assert chosen(quote(Terms(budget=20.1), ready=1, spent_s=600)) is None
    assert chosen(quote(Terms(budget=20.4), ready=1, spent_s=600)) == 10


def test_starting_others_takes_time_that_those_who_are_ready_do_not_need() -> None:
    walls_s = [offer.wall_s for offer in quote(ready=2, start_s=60.0).offers]
    assert walls_s[:3] == pytest.approx([10 * HOUR_S, 5 * HOUR_S, 3.4 * HOUR_S + 60])


def test_a_count_that_would_only_be_slower_is_not_bought() -> None:
    work = Workload(2, (Load(2, 1.0),))
    assert chosen(make_quote(work, Crew(2, 1, 60.0, 0.0, 1.0), Terms(budget=10))) == 1


@given(WORKS, CREWS)
def test_more_workers_are_never_slower_once_started_and_never_cost_less_than_the_drawing(
    work: Workload, crew: Crew
) -> None:
    offers = make_quote(work, crew, Terms()).offers
    for one, more in pairwise(offers):
        waits = crew.start_s if one.workers <= crew.ready < more.workers else 0.0
        assert more.wall_s <= (one.wall_s + waits) * (1 + 1e-9)
    for offer in offers:
        assert offer.cost is not None
        assert crew.price_per_worker_hour is not None
        assert offer.cost >= work.drawing_s / 3600 * crew.price_per_worker_hour * (1 - 1e-9)
        assert offer.worker_s >= offer.workers * offer.wall_s


@given(WORKS, CREWS, st.floats(0.1, 1e5))
def test_a_deadline_takes_the_fewest_workers_that_meet_it(work: Workload, crew: Crew, deadline_s: float) -> None:
    asked = make_quote(work, crew, Terms(deadline_s=deadline_s))
    in_time = [offer.workers for offer in asked.eligible if crew.spent_s + offer.wall_s <= deadline_s]
    assert chosen(asked) == min(in_time, default=None)


@given(WORKS, CREWS, st.floats(0.001, 1e4))
def test_a_budget_takes_the_fastest_count_within_it(work: Workload, crew: Crew, budget: float) -> None:
    asked = make_quote(work, crew, Terms(budget=budget))
    walls_s = [offer.wall_s for offer in asked.eligible if offer.cost is not None and offer.cost <= budget]
    assert (asked.chosen.wall_s if asked.chosen else None) == min(walls_s, default=None)
    if asked.chosen is not None:
        assert asked.chosen.cost is not None
        assert asked.chosen.cost <= budget


@given(WORKS, CREWS, st.floats(0.1, 1e5), st.floats(0.001, 1e4), st.none() | st.integers(1, 50))
def test_both_terms_are_met_or_none_is_chosen(
    work: Workload, crew: Crew, deadline_s: float, budget: float, workers: int | None
) -> None:
    asked = make_quote(work, crew, Terms(workers, deadline_s, budget))
    if asked.chosen is None:
        assert not any(asked.is_in_time(offer) and asked.is_within_budget(offer) for offer in asked.eligible)
        return
    assert crew.spent_s + asked.chosen.wall_s <= deadline_s
    assert (asked.chosen.cost or 0.0) <= budget
    assert asked.chosen.workers <= (workers or crew.largest)
    assert asked.chosen in asked.offers


def test_a_quotes_record_is_json_that_tells_the_choice() -> None:
    record = json.loads(json.dumps(quote(Terms(deadline_s=5 * HOUR_S)).record()))
    assert (record["images"], record["batches"], record["drawing_s"]) == (100, 100, 36_000.0)
    assert record["chosen_workers"] == 2
    assert record["offers"][1] == {"workers": 2, "wall_s": 18_000.0, "worker_s": 36_000.0, "cost": 20.0}
    assert record["terms"]["deadline_s"] == 18_000.0

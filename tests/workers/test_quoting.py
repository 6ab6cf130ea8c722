from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pressrun.errors import QuoteRefused
from pressrun.quote import Quote
from pressrun.run import Run
from tests import engines, runs
from tests.workers.conftest import OpenedRun
from workers.fleet import LocalFleet
from workers.order import PrintOrder
from workers.quoting import quote_run
from workers.scaling import scale
from workers.speed import Speed, warm_fleet

Opened = Callable[..., OpenedRun]
IMAGES = 800
ALONE_S = IMAGES * engines.HESITANT_IMAGE_S


@pytest.fixture
def quoted(fleet: LocalFleet, opened: Opened) -> Callable[..., tuple[Run, PrintOrder, Speed, Quote | None]]:
    """Give a function that opens a run and has it warmed and quoted."""

    def quote(**changes: Any) -> tuple[Run, PrintOrder, Speed, Quote | None]:
        run, order = opened(runs.prompts(IMAGES), **{"engine": "tests.engines:hesitant", "workers": None} | changes)
        speed = warm_fleet(run, fleet, order)
        return run, order, speed, quote_run(run, fleet, speed)

    return quote


def test_a_quote_follows_from_what_was_measured_and_is_written_beside_the_plan(
    quoted: Callable[..., Any], tmp_path: Path
) -> None:
    run, _, _, quote = quoted(deadline="1h")
    assert [offer.workers for offer in quote.offers] == [1, 2]
    assert quote.offers[0].wall_s == pytest.approx(ALONE_S, rel=0.2)
    assert quote.offers[1].wall_s == pytest.approx(ALONE_S / 2, rel=0.2)  # both are warm: nobody is waited for
    assert quote.chosen.workers == 1
    assert run.ledger.quote is quote
    record = json.loads((tmp_path / "out" / "runs" / run.run_id / "quote.json").read_text())
    assert (record["images"], record["batches"], record["chosen_workers"]) == (IMAGES, IMAGES // 2, 1)


def test_a_deadline_too_near_is_refused_before_a_worker_is_started(
    quoted: Callable[..., Any], no_scaling: LocalFleet, tmp_path: Path
) -> None:
    run, order, speed, quote = quoted(deadline="50s")
    with pytest.raises(QuoteRefused, match=r"deadline of 50 s cannot be met: 800 images take .* on 2 workers"):
        scale(run, no_scaling, order, speed, quote)
    assert engines.drawn(tmp_path / "out") == []


@pytest.fixture
def no_scaling(fleet: LocalFleet, monkeypatch: pytest.MonkeyPatch) -> LocalFleet:
    def refuse(*arguments: object) -> int:
        raise AssertionError("workers were started")

    monkeypatch.setattr(LocalFleet, "scale", refuse)
    return fleet


def test_a_worker_count_that_was_asked_for_is_held_against_the_deadline(quoted: Callable[..., Any]) -> None:
    *_, quote = quoted(workers=1, deadline=f"{0.75 * ALONE_S}s")
    assert quote.chosen is None
    assert [offer.workers for offer in quote.offers] == [1, 2]


def test_nobody_asks_and_nothing_is_known_so_there_is_no_quote(quoted: Callable[..., Any]) -> None:
    run, _, speed, quote = quoted()
    assert quote is None
    assert not run.store.exists(f"runs/{run.run_id}/quote.json")
    assert speed.batch_sizes.most == {(64, 64): 2}


def test_terms_that_cannot_be_judged_are_refused(quoted: Callable[..., Any]) -> None:
    with pytest.raises(QuoteRefused, match="could not be measured in batches of 4"):
        quoted(engine="tests.engines:small", batch_size=4, deadline="1h")

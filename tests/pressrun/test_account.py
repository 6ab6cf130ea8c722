from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from pressrun import layout, manifest
from pressrun.cache.traffic import Traffic
from pressrun.failures import Failure, write_failures
from pressrun.job import Job, Reuse
from pressrun.location import Location
from pressrun.profile import Profile, Timing
from pressrun.quote import Crew, Terms, make_quote
from pressrun.report.account import write_account
from pressrun.report.facts import QuotedOffer, ReportFacts
from pressrun.run import Run, open_run
from pressrun.summary import Outcome, RunSummary, summarise
from pressrun.workload import Load, Workload
from tests.pressrun.models.small_model import write_model
from tests.pressrun.small_collection import ids, put_images, put_tar

SCRIPT = "<script>alert('a star')</script>"
SECRET = "hunter2"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def run(model: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Run]:
    prompts = request.param if hasattr(request, "param") else [SCRIPT, "a blue ring", "a green cross"]
    where = Location(str(tmp_path / "my pictures"), {"token": SECRET})
    opened = open_run(Job(prompts, Location(str(model)), where, None, batch_size=4), "run-1")
    yield opened
    opened.close()


def print_images(run: Run, count: int | None = None) -> pa.Table:
    """Enter some pictures of the plan as done."""
    rows = put_images(run.store, run.plan.todo.slice(0, count), dimension=0)
    if rows.num_rows:
        manifest.write_part(run.store, rows)
    run.ledger.add(ids(rows), (), (1.0, 0.5))
    return rows


def fail(run: Run, number: int) -> None:
    """Give one picture of the plan up."""
    requests = run.plan.todo.slice(number, 1)
    letter = Failure.of(ids(requests)[0], "render", ValueError(SCRIPT), 2)
    write_failures(run.store, f"{run.run_id}-00000", requests, [letter], run.run_id)
    run.ledger.add([], (letter,), (0.0, 0.0))


def account(run: Run) -> tuple[RunSummary, ReportFacts]:
    summary = summarise(run)
    return summary, write_account(run, summary)


def page(run: Run) -> str:
    return run.store.read(layout.REPORT).decode()


def test_a_run_leaves_a_report_its_facts_and_a_contact_sheet(run: Run) -> None:
    print_images(run)
    summary, facts = account(run)
    assert summary.outcome is Outcome.complete
    assert (facts.outcome, facts.images_asked, facts.images_made, facts.images_failed) == ("completed", 3, 3, 0)
    assert ReportFacts.from_json(run.store.read(layout.run("run-1", "report.json"))) == facts
    assert run.store.read(layout.run("run-1", layout.REPORT)) == run.store.read(layout.REPORT)
    sheet = Image.open(io.BytesIO(run.store.read(layout.CONTACT_SHEET)))
    assert (sheet.format, sheet.width > 500) == ("PNG", True)
    assert sorted(picture.prompt for picture in facts.samples) == sorted(run.plan.todo.column("prompt").to_pylist())
    assert facts.chosen_batch_size == 4


def test_what_failed_is_told_and_is_never_markup(run: Run) -> None:
    script_at = run.plan.todo.column("prompt").to_pylist().index(SCRIPT)
    fail(run, script_at)
    rest = run.plan.todo.filter(pa.array([number != script_at for number in range(3)]))
    rows = put_images(run.store, rest, dimension=0)
    manifest.write_part(run.store, rows)
    run.ledger.add(ids(rows), (), (1.0, 0.5))
    summary, facts = account(run)
    assert summary.outcome is Outcome.partial
    assert facts.outcome == "partial"
    (failure,) = facts.failures
    assert (failure.prompt, failure.error, failure.attempts) == (SCRIPT, f"ValueError: {SCRIPT}", 2)
    assert "<script" not in page(run)
    assert "&lt;script&gt;" in page(run)


@pytest.mark.parametrize("run", [["a red star"]], indirect=True)
def test_one_image_is_enough(run: Run) -> None:
    print_images(run)
    _, facts = account(run)
    assert (facts.images_made, len(facts.samples)) == (1, 1)
    assert run.store.exists(layout.CONTACT_SHEET)


def test_pictures_in_tars_are_shown_too(run: Run) -> None:
    rows = put_tar(run.store, run.plan.todo, dimension=0)
    manifest.write_part(run.store, rows)
    run.ledger.add(ids(rows), (), (1.0, 0.5))
    _, facts = account(run)
    assert [picture.image_id for picture in facts.samples] == ids(rows)


def test_a_run_that_made_nothing_has_a_report_that_says_where_it_stopped(run: Run) -> None:
    with pytest.raises(ValueError, match="no"), run.ledger.stage("warm model", ""):
        raise ValueError("no")
    with run.ledger.stage("tear down", ""):
        pass
    summary, facts = account(run)
    assert summary.outcome is Outcome.unfinished
    assert facts.message == "Stopped in the stage 'warm model'. ValueError: no"
    assert [(stage.name, stage.state) for stage in facts.stages] == [
        ("warm model", "failed"),
        ("tear down", "completed"),
    ]
    assert "warm model" in page(run)
    assert not run.store.exists(layout.CONTACT_SHEET)


def test_pictures_that_are_gone_or_damaged_do_not_cost_the_report(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    rows = print_images(run)
    paths = rows.column("path").to_pylist()
    run.store.delete(paths[:1])
    run.store.write(paths[1], b"not a picture")
    run.ledger.searches = {"a star": [(image_id, 0.5) for image_id in [*ids(rows), "0" * 32]]}
    with caplog.at_level(logging.WARNING):
        _, facts = account(run)
    assert [picture.image_id for picture in facts.samples] == ids(rows)[2:]
    (search,) = facts.searches
    assert [picture.image_id for picture in search.pictures] == ids(rows)[2:]
    assert paths[0] in caplog.text
    assert paths[1] in caplog.text


def test_pictures_taken_over_by_reference_are_shown(run: Run, tmp_path: Path) -> None:
    print_images(run)
    reuse = Reuse((Location(run.job.collection.url),), "reference")
    second = open_run(replace(run.job, collection=Location(str(tmp_path / "referring")), reuse=reuse), "run-2")
    try:
        _, facts = account(second)
        assert (facts.images_reused, len(facts.samples)) == (3, 3)
        assert second.store.exists(layout.CONTACT_SHEET)
    finally:
        second.close()


def test_search_examples_keep_their_order_and_scores(run: Run) -> None:
    rows = print_images(run)
    hits = [(ids(rows)[at], score) for at, score in ((2, 0.9), (0, 0.7), (1, 0.2))]
    run.ledger.searches = {"a star": hits, "nothing like it": []}
    _, facts = account(run)
    found, nothing = facts.searches
    assert [(picture.image_id, picture.score) for picture in found.pictures] == hits
    assert nothing.pictures == ()


def test_speeds_and_settings_are_told_without_secrets(run: Run) -> None:
    print_images(run)
    timings = (Timing(1, 0.5), Timing(2, 0.25))
    run.ledger.profiles = (Profile("m", "fp32", 8, 8, 2, timings, 2, "cpu"),)
    run.ledger.provenance = {"engine": "null", "threads": 2}
    _, facts = account(run)
    assert [(speed.size, speed.images_per_s) for speed in facts.batch_speeds] == [(1, 2.0), (2, 4.0)]
    assert facts.chosen_batch_size == 2
    assert facts.versions["threads"] == "2"
    assert SECRET not in page(run) + facts.to_json().decode()


def test_the_quote_is_told_with_its_choice_and_its_terms(run: Run) -> None:
    work, crew = Workload(3, (Load(3, 60.0),)), Crew(2, 1, price_per_worker_hour=6.0)
    run.ledger.quote = make_quote(work, crew, Terms(deadline_s=150.0))
    print_images(run)
    _, facts = account(run)
    assert facts.offers == (QuotedOffer(1, 180.0, pytest.approx(0.3)), QuotedOffer(2, 120.0, pytest.approx(0.4), True))
    assert facts.quote == "3 images, 3 min of drawing: 2 workers 2 min, 0.40, by the deadline of 2 min 30 s"
    assert facts.quote in page(run)


def test_how_weights_came_is_told_in_report_and_summary(run: Run) -> None:
    traffic = Traffic()
    traffic.received("alpha", "origin", 3_000_000, 1.0, 1.0)
    traffic.held("alpha", 1_000_000)
    run.ledger.traffic = traffic.snapshot(1.0)
    print_images(run)
    summary, facts = account(run)
    assert facts.traffic == summary.traffic == run.ledger.traffic
    assert ReportFacts.from_json(run.store.read(layout.run("run-1", "report.json"))) == facts
    told = json.loads(json.dumps(summary.record()))["traffic"]
    assert (told["total"]["origin_bytes"], told["hit_ratio"]) == (3_000_000, 0.25)
    assert "3 MB from the origin" in page(run)


def test_what_workers_cost_includes_their_waiting(run: Run) -> None:
    run.ledger.stages |= {"provision cache": 10.0, "warm model": 20.0, "scale out": 6.0, "generate batches": 60.0}
    run.ledger.stages |= {"index outputs": 4.0, "tear down": 100.0}
    run.ledger.ready_workers, run.ledger.workers = 1, 3
    assert summarise(run).worker_hours == pytest.approx((30 + 3 * 70) / 3600)


def test_throughput_adds_up_to_what_was_made(run: Run) -> None:
    now = run.ledger.clock()
    run.ledger.clock = lambda: now
    run.ledger.start_generating()
    for number in range(200):
        now += 0.5
        run.ledger.add([str(number)], (), (0.4, 0.1))
    _, facts = account(run)
    assert len(facts.throughput) <= 60
    edges = [0.0, *(point.at_s for point in facts.throughput)]
    made = sum(
        point.images_per_s * (end - start)
        for point, start, end in zip(facts.throughput, edges[:-1], edges[1:], strict=True)
    )
    assert made == pytest.approx(200)

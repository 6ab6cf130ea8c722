"""Deadlines and budgets on real workers, whose engine is slow only while it is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from blocks.clusters import LocalDaskCluster
from flows.generate_images import generate_images
from flows.parameters import GenerateParameters
from pressrun.errors import InvalidJob, QuoteRefused
from pressrun.summary import Outcome
from tests import engines, runs

pytestmark = pytest.mark.usefixtures("prefect_api")
IMAGES = 200
ALONE_S = IMAGES * engines.HESITANT_IMAGE_S  # two workers take half of it, and some for the second to start
TWO_IN_TIME = f"{0.8 * ALONE_S}s"


def job(out: Path, **changes: Any) -> GenerateParameters:
    fitting = {"engine": "tests.engines:hesitant", "workers": None, "cluster": LocalDaskCluster(workers=2)}
    return runs.job(out, runs.prompts(IMAGES), **fitting | changes)


def record(out: Path, name: str) -> dict[str, Any]:
    (file,) = out.glob(f"runs/*/{name}")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def shown(run_id: str) -> list[dict[str, str]]:
    """Return the rows of the quote that the server shows for a run."""
    with get_client(sync_client=True) as client:
        (flow_run,) = [run for run in client.read_flow_runs() if str(run.id).startswith(run_id[-8:])]
        artifacts = [a for a in client.read_artifacts() if a.flow_run_id == flow_run.id and a.key == "quote"]
    rows: list[dict[str, str]] = json.loads(str(artifacts[-1].data))
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(("deadline", "workers"), [("1h", 1), (TWO_IN_TIME, 2)])
def test_a_deadline_decides_how_many_workers_draw(tmp_path: Path, deadline: str, workers: int) -> None:
    out = tmp_path / "out"
    summary = generate_images(job(out, deadline=deadline))
    assert (summary.outcome, summary.done) == (Outcome.complete, IMAGES)
    assert record(out, "quote.json")["chosen_workers"] == workers
    assert len({row["worker"] for row in runs.rows(out).values()}) == workers
    assert [row["choice"] for row in shown(summary.run_id)] == ["chosen" if n == workers else "" for n in (1, 2)]
    assert [offer["chosen"] for offer in record(out, "report.json")["offers"]] == [n == workers for n in (1, 2)]
    assert "Quote</h2>" in (out / "report.html").read_text()


def test_a_deadline_too_near_is_refused_with_the_numbers_and_nothing_is_drawn(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(QuoteRefused, match=r"deadline of 30 s cannot be met: 200 images take .* on 2 workers"):
        generate_images(job(out, deadline="30s"))
    assert engines.drawn(out) == []
    assert not list(out.glob("images/*/*"))
    assert record(out, "quote.json")["chosen_workers"] is None
    assert "refused" in (out / "report.html").read_text()
    assert not (out / "writer.json").exists()


def test_a_budget_too_small_is_refused_at_the_clusters_price(tmp_path: Path) -> None:
    cluster = LocalDaskCluster(workers=2, price_per_worker_hour=3600)
    with pytest.raises(QuoteRefused, match=r"budget of 50\.00 cannot be kept: 200 images cost .* on 1 worker"):
        generate_images(job(tmp_path / "out", budget=50, cluster=cluster))


def test_a_budget_without_a_price_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match="price of a worker-hour"):
        generate_images(job(tmp_path / "out", budget=50))
    assert not (tmp_path / "out").exists()

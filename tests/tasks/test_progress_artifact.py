"""The progress bar that people watch in the Prefect UI."""

from __future__ import annotations

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.runtime import flow_run

from pressrun.progress import News
from tasks.progress_artifact import ProgressArtifact


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def shown() -> tuple[float, str]:
    """Return what the server shows of the current flow run's bar: percent and text."""
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    with get_client(sync_client=True) as client:
        (artifact,) = client.read_artifacts(artifact_filter=mine)
    return float(artifact.data), str(artifact.description)


@pytest.mark.usefixtures("prefect_api")
def test_the_bar_follows_the_news_every_few_seconds_and_ends_where_the_run_ends() -> None:
    clock = Clock()
    seen = []

    @flow(name="a run with a bar")
    def run() -> None:
        bar = ProgressArtifact("pictures", clock)
        seen.append(shown())
        clock.now_s = 1.0
        bar.update(News("generate batches", done=1, total=10))  # too soon after the last
        seen.append(shown())
        clock.now_s = 10.0
        bar.update(News("generate batches", done=5, total=10))
        seen.append(shown())
        clock.now_s = 11.0
        bar.update(News("generate batches", done=8, failed=2, total=10))
        bar.finish()
        seen.append(shown())

    run()
    assert seen[:2] == [(0.0, "pictures")] * 2
    assert seen[2] == (50.0, "5 of 10 images, 0 failed, 0.5 images/s, 10 s left")
    assert seen[3][0] == 100.0
    assert seen[3][1].startswith("8 of 10 images, 2 failed, 0.7 images/s")


@pytest.mark.usefixtures("prefect_api")
def test_how_far_a_stage_is_shows_as_it_says_itself() -> None:
    clock = Clock()
    seen = []

    @flow(name="a run that brings weights")
    def run() -> None:
        bar = ProgressArtifact("weights", clock, key="cache-progress")
        clock.now_s = 5.0
        bar.update(News("provision cache", "1 MB of 4 MB", share=0.25))
        seen.append(shown())

    run()
    assert seen == [(25.0, "1 MB of 4 MB")]


def test_outside_a_flow_there_is_no_bar_and_no_harm() -> None:
    bar = ProgressArtifact("pictures")
    bar.update(News("generate batches", done=1, total=10))
    bar.finish()

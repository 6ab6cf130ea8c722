"""How weights came to the hosts, where people see it."""

from __future__ import annotations

import json
import logging

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.runtime import flow_run

from pressrun.cache.traffic import Traffic
from pressrun.cache.traffic_report import TrafficReport
from pressrun.ledger import Ledger
from pressrun.progress import News, listening, tell
from tasks.traffic_artifact import show_new_traffic, show_traffic, showing_bring
from workers.cache.bring_watch import telling_progress

MB = 10**6


def brought() -> TrafficReport:
    traffic = Traffic()
    for host, zone in (("alpha", "a"), ("beta", "b")):
        traffic.joined(host, zone)
        traffic.lacked(host, 3 * MB, nobody_has=host == "alpha")
    traffic.received("alpha", "origin", 3 * MB, 1.0, 1.0)
    traffic.received("beta", "other_zone", 3 * MB, 1.0, 2.0, "alpha")
    return traffic.snapshot(2.0)


def artifacts() -> dict[str, tuple[object, str]]:
    """Return what the server has of the current flow run: data and description by key."""
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=mine)
    return {str(artifact.key): (artifact.data, str(artifact.description)) for artifact in found}


@pytest.mark.usefixtures("prefect_api")
def test_a_table_has_a_row_a_host_and_the_account_in_words() -> None:
    seen = {}

    @flow(name="a run with a cache")
    def run() -> None:
        show_traffic(brought())
        seen.update(artifacts())

    run()
    table, description = seen["cache"]
    told = json.loads(table) if isinstance(table, str) else table
    assert [(row["host"], row["origin"], row["peers, other zone"]) for row in told] == [
        ("alpha", "3 MB", "0 bytes"),
        ("beta", "0 bytes", "3 MB"),
        ("all hosts", "3 MB", "3 MB"),
    ]
    assert "6 MB on 2 hosts: 3 MB from the origin" in description


@pytest.mark.usefixtures("prefect_api")
def test_a_bar_shows_while_weights_are_on_their_way_and_only_then() -> None:
    seen: list[dict[str, tuple[object, str]]] = []

    @flow(name="a run that brings")
    def run() -> None:
        with showing_bring():
            tell(News("provision cache", "opening workers"))
            seen.append(artifacts())
            tell(News("provision cache", "1 MB of 4 MB", share=0.25))
            tell(News("provision cache", "4 MB of 4 MB", share=1.0))
        seen.append(artifacts())

    run()
    assert seen[0] == {}
    data, description = seen[1]["cache-progress"]
    assert (float(str(data)), description) == (100.0, "4 MB of 4 MB")


@pytest.mark.usefixtures("prefect_api")
def test_a_bar_follows_what_is_told_from_the_watch() -> None:
    seen = {}

    @flow(name="a run that watches")
    def run() -> None:
        with showing_bring(), telling_progress(brought, every_s=0.01):
            while "cache-progress" not in seen:
                seen.update(artifacts())

    run()


def test_outside_a_flow_the_log_and_the_news_tell(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[News] = []
    with caplog.at_level(logging.INFO, "pressrun"), listening(heard.append):
        show_traffic(brought())
        show_traffic(None)
        show_traffic(TrafficReport())
    assert len(heard) == len(caplog.messages) == 1
    assert heard[0].note == caplog.messages[0]
    assert heard[0].note.startswith("model cache: 6 MB on 2 hosts: 3 MB from the origin")


def test_a_later_stage_shows_the_account_again_where_it_added_to_it() -> None:
    heard: list[News] = []
    ledger = Ledger(total=1, traffic=brought(), read_traffic=brought)
    with listening(heard.append):
        show_new_traffic(ledger, "warm model")
        assert heard == []
        traffic = Traffic()
        traffic.held("alpha", 3 * MB, "memory")
        ledger.read_traffic = lambda: brought().merged(traffic.snapshot(0.0))
        show_new_traffic(ledger, "warm model")
    (news,) = heard
    assert news.stage == "warm model"
    assert "9 MB on 2 hosts: 3 MB from the origin, 3 MB from peers, other zone, 3 MB from own memory" in news.note

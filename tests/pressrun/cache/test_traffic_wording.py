"""Traffic as people read it."""

from __future__ import annotations

import pytest

from pressrun.cache.traffic import Traffic
from pressrun.cache.traffic_report import TrafficReport
from pressrun.cache.traffic_wording import headline, percent, progress, rows

MB = 10**6


def brought() -> Traffic:
    """Give the account of 100 MB on two hosts in two zones, in four seconds, with a fault."""
    traffic = Traffic()
    for host, zone in (("alpha", "a"), ("beta", "b")):
        traffic.joined(host, zone)
        traffic.lacked(host, 100 * MB, nobody_has=host == "alpha")
        traffic.waits(host, 1, 0.0)
    traffic.received("alpha", "origin", 100 * MB, 2.0, 2.0)
    traffic.waits("alpha", 0, 2.0)
    traffic.faulted("beta", "corrupt")
    return traffic


def filled() -> TrafficReport:
    traffic = brought()
    traffic.received("beta", "other_zone", 100 * MB, 2.0, 4.0, "alpha")
    traffic.waits("beta", 0, 4.0)
    return traffic.snapshot(4.0)


def test_one_line_tells_sources_copies_speed_and_faults() -> None:
    assert headline(filled()) == (
        "200 MB on 2 hosts in 4 s: 100 MB from the origin, 100 MB from peers, other zone; 50.0% not from the origin; "
        "1.00 origin copies; 50 MB/s; efficiency 50.0% at measured rates; faults: 1 corrupt"
    )


def test_a_warm_start_is_told_as_such() -> None:
    traffic = Traffic()
    traffic.held("alpha", 100 * MB)
    assert headline(traffic.snapshot(0.0)) == "100 MB on 1 host, all there before"
    traffic.held("alpha", 60 * MB, "memory")
    assert headline(traffic.snapshot(0.0)) == (
        "160 MB on 1 host, all there before: 100 MB from own disk, 60 MB from own memory"
    )
    assert headline(TrafficReport()) == "no bytes were brought"


def test_the_table_has_a_row_a_host_and_one_for_all() -> None:
    table = rows(filled())
    assert [row["host"] for row in table] == ["alpha", "beta", "all hosts"]
    assert [row["origin"] for row in table] == ["100 MB", "0 bytes", "100 MB"]
    assert [row["peers, other zone"] for row in table] == ["0 bytes", "100 MB", "100 MB"]
    assert [row["not from the origin"] for row in table] == ["0%", "100%", "50.0%"]
    assert [row["time"] for row in table] == ["2 s", "4 s", "4 s"]
    assert [row["faults"] for row in table] == ["none", "1 corrupt", "1 corrupt"]
    assert len({tuple(row) for row in table}) == 1
    assert rows(TrafficReport()) == []


def test_progress_tells_how_much_is_there_and_who_waits() -> None:
    share, line = progress(brought().snapshot(2.0))
    assert share == pytest.approx(0.5)
    assert line == "100 MB of 200 MB, 100 MB of it from the origin; 1 host waiting, 50 MB/s; faults: 1 corrupt"
    held = brought()
    held.held("alpha", 20 * MB)
    held.held("alpha", 5 * MB, "memory")
    assert "50 MB/s; there before: 20 MB on own disk, 5 MB in own memory; faults" in progress(held.snapshot(2.0))[1]
    assert progress(TrafficReport())[0] == 0.0
    assert progress(filled())[0] == 1.0


def test_shares_are_round_only_where_they_are_whole() -> None:
    assert [percent(share) for share in (None, 0.0, 0.9996, 1.0)] == ["-", "0%", "100.0%", "100%"]

"""The account of traffic: what a registry enters, what follows from it, and a run's share of a standing one."""

from __future__ import annotations

import json
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pressrun.cache.messages import ORIGIN, Event, Failed, Fetch, Got, Joined, Left, WantedChunk, Wants
from pressrun.cache.registry import Registry
from pressrun.cache.traffic import Pull, Traffic, account_of_pulls
from pressrun.cache.traffic_report import HostTraffic, TrafficReport, of_record

CHUNKS = tuple(WantedChunk(f"c{number}", 100 + number) for number in range(8))
CONTENT_BYTES = sum(chunk.size_bytes for chunk in CHUNKS)


class Cluster:
    """A registry with its account, and hosts whose chunks take the time that a test says."""

    def __init__(self, zones: dict[str, str]) -> None:
        self.registry = Registry()
        self.now = 0.0
        for host, zone in zones.items():
            self.tell(Joined(host, zone, f"{host}:1"))

    def tell(self, event: Event) -> None:
        self.registry.tell(event, self.now)

    def bring(self, hosts: list[str], seconds: tuple[float, ...] = (1.0,), faults: tuple[str, ...] = ("",)) -> None:
        """Have hosts fill; flights take those seconds in turn, and of those from peers some fail."""
        for host in hosts:
            self.tell(Wants(host, CHUNKS))
        lengths, fates = cycle(seconds), cycle(faults)
        flying: list[tuple[float, int, float, Fetch]] = []
        for number in count():
            fetches = [said for said in self.registry.commands(self.now) if isinstance(said, Fetch)]
            for fetch in fetches:
                took_s = next(lengths)
                heappush(flying, (self.now + took_s, number + len(flying), took_s, fetch))
            if flying:
                self.now, _, took_s, fetch = heappop(flying)
                self.land(fetch, took_s, next(fates) if fetch.source != ORIGIN else "")
            elif any(host.wants for host in self.registry.swarm.hosts.values()):
                self.now += 1.0  # until a ban is over
            else:
                return

    def land(self, fetch: Fetch, took_s: float, fault: str) -> None:
        if fault:
            self.tell(Failed(fetch.host, fetch.chunk_id, fetch.source, fault))
        else:
            self.tell(Got(fetch.host, fetch.chunk_id, fetch.source, took_s, f"hash of {fetch.chunk_id}"))

    def report(self) -> TrafficReport:
        return self.registry.traffic.snapshot(self.now)


def test_every_byte_is_entered_by_where_it_came_from() -> None:
    cluster = Cluster({"a1": "a", "a2": "a", "b1": "b", "b2": "b"})
    cluster.bring(["a1", "a2", "b1", "b2"])
    report = cluster.report()
    total = report.total
    assert (total.origin_bytes, report.content_bytes, report.origin_copies) == (CONTENT_BYTES, CONTENT_BYTES, 1.0)
    assert total.wire_bytes == total.lacked_bytes == 4 * CONTENT_BYTES
    assert total.sent_bytes == total.same_zone_bytes + total.other_zone_bytes == 3 * CONTENT_BYTES
    assert total.other_zone_bytes == CONTENT_BYTES  # each chunk crosses once, whichever zone read it
    assert report.hit_ratio == 0.75
    assert [(host.host, host.zone, host.chunks) for host in report.hosts] == [
        ("a1", "a", 8),
        ("a2", "a", 8),
        ("b1", "b", 8),
        ("b2", "b", 8),
    ]


def test_the_time_of_a_bring_is_that_in_which_somebody_waited() -> None:
    cluster = Cluster({"one": "", "two": ""})
    cluster.now = 10.0
    cluster.bring(["one"])
    ended = cluster.now
    cluster.now += 500.0  # drawing
    cluster.bring(["two"])
    report = cluster.report()
    assert report.bring_s == pytest.approx((ended - 10.0) + (cluster.now - ended - 500.0))
    one, two = report.hosts
    assert (one.first_at, one.last_at) == (10.0, ended)
    assert (two.first_at, two.last_at) == (ended + 500.0, cluster.now)
    assert report.total.bytes_per_s == pytest.approx(2 * CONTENT_BYTES / report.bring_s)


def test_a_bring_that_goes_on_counts_until_now() -> None:
    cluster = Cluster({"one": ""})
    cluster.tell(Wants("one", CHUNKS))
    cluster.now = 7.0
    report = cluster.report()
    assert (report.bring_s, report.hosts[0].bring_s, report.hosts[0].waiting_chunks) == (7.0, 7.0, len(CHUNKS))
    cluster.tell(Left("one"))
    cluster.now = 100.0
    assert cluster.report().bring_s == 7.0


def test_a_link_is_in_use_once_however_many_chunks_share_it() -> None:
    traffic = Traffic()
    traffic.received("one", "origin", 50, 2.0, 2.0)
    traffic.received("one", "origin", 50, 2.0, 3.0)
    traffic.received("one", "origin", 50, 1.0, 11.0)
    traffic.received("two", "same_zone", 50, 1.0, 12.0, sender="one")
    report = traffic.snapshot(20.0)
    assert report.origin_s == report.hosts[0].receiving_s == 4.0
    assert report.hosts[0].sending_s == report.hosts[1].receiving_s == 1.0


def test_waiting_beside_idle_links_is_what_efficiency_lacks() -> None:
    traffic = Traffic()
    for host in ("one", "two"):
        traffic.lacked(host, 400, nobody_has=host == "one")
        traffic.waits(host, 4, 0.0)
    for number in range(4):
        now = 2.0 * number + 2.0
        traffic.received("one", "origin", 100, 1.0, now)  # each second that it is idle before
        traffic.received("two", "same_zone", 100, 1.0, now, "one")
    for host in ("one", "two"):
        traffic.waits(host, 0, 8.0)
    assert traffic.snapshot(8.0).efficiency == pytest.approx(0.5)


def test_hosts_that_do_not_share_have_copies_and_no_efficiency() -> None:
    pulls = [Pull(host, revision, 100, 20) for host in ("one", "two", "three") for revision in ("model", "embedder")]
    report = account_of_pulls(pulls, 5.0)
    assert (report.origin_copies, report.efficiency, report.bring_s) == (3.0, None, 5.0)
    assert (report.total.origin_bytes, report.total.disk_bytes) == (600, 120)
    assert report.total.bytes_per_s == 120.0
    assert account_of_pulls([Pull("one", "model", 0, 70)], 1.0).hit_ratio == 1.0


def test_what_was_here_needs_no_time_and_is_a_hit() -> None:
    traffic = Traffic()
    traffic.held("one", 300)
    traffic.held("one", 100, "memory")
    report = traffic.snapshot(1.0)
    assert (report.hit_ratio, report.origin_copies, report.efficiency) == (1.0, None, None)
    assert report.total.bytes_per_s is None
    assert traffic.snapshot(1.0).total.disk_bytes == 300
    assert TrafficReport().hit_ratio is None


def test_faults_are_counted_by_kind_and_bytes_read_twice_are_seen() -> None:
    cluster = Cluster({"one": "", "two": ""})
    cluster.bring(["one", "two"], faults=("", "timeout", "", "", "corrupt", "", ""))
    report = cluster.report()
    assert set(report.total.faults) == {"timeout", "corrupt"}
    assert report.total.wire_bytes == 2 * CONTENT_BYTES
    traffic = Traffic()
    traffic.lacked("one", 100, nobody_has=True)
    for _ in range(2):
        traffic.received("one", "origin", 100, 1.0, 1.0)
    assert traffic.snapshot(1.0).origin_copies == 2.0


def test_a_runs_share_of_a_standing_account_is_what_came_since() -> None:
    cluster = Cluster({"early": "", "late": "", "idle": ""})
    cluster.bring(["early"])
    before = cluster.report()
    cluster.now += 60.0
    cluster.bring(["late"])
    share = cluster.report().minus(before)
    assert [host.host for host in share.hosts] == ["early", "late"]  # one sent, the other received
    assert (share.total.origin_bytes, share.total.same_zone_bytes) == (0, CONTENT_BYTES)
    assert (share.hit_ratio, share.origin_copies) == (1.0, None)
    assert share.hosts[0].last_at is None
    assert share.hosts[1].first_at == before.taken_at + 60.0
    nothing = cluster.report().minus(cluster.report())
    assert (nothing.hosts, nothing.bring_s, nothing.content_bytes) == ((), 0.0, 0)


def test_a_report_survives_json_and_tells_what_follows_from_it() -> None:
    cluster = Cluster({"a": "x", "b": "y"})
    cluster.bring(["a", "b"], faults=("", "", "refused"))
    report = cluster.report()
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert of_record(record) == report
    assert record["hit_ratio"] == report.hit_ratio
    assert record["total"]["wire_bytes"] == 2 * CONTENT_BYTES
    assert record["hosts"][0]["host"] == "a"
    with pytest.raises(KeyError):
        of_record({})


_SECONDS = st.lists(st.floats(0.1, 10), min_size=1, max_size=7).map(tuple)


@settings(max_examples=40, deadline=None)
@given(
    zones=st.lists(st.sampled_from("xyz"), min_size=1, max_size=5),
    seconds=_SECONDS,
    faults=st.lists(st.sampled_from(["", "", "corrupt", "timeout", "refused"]), max_size=6),
)
def test_whatever_happens_sums_hold_and_no_plan_is_called_better_than_possible(
    zones: list[str], seconds: tuple[float, ...], faults: list[str]
) -> None:
    hosts = {f"h{number}": zone for number, zone in enumerate(zones)}
    cluster = Cluster(hosts)
    cluster.bring(list(hosts), seconds, ("", *faults))
    report = cluster.report()
    total = report.total
    assert total.wire_bytes == total.lacked_bytes == len(hosts) * CONTENT_BYTES
    assert total.origin_bytes + total.sent_bytes == total.wire_bytes
    assert report.origin_copies is not None
    assert report.origin_copies >= 1.0
    if total.sent_bytes:
        assert report.efficiency is not None
        assert 0 < report.efficiency <= 1
    assert report.least_s <= report.bring_s * (1 + 1e-9)
    assert report.bring_s <= cluster.now + 1e-9
    for host in report.hosts:
        assert host.receiving_s <= host.bring_s * (1 + 1e-9)
        assert host.waiting_chunks == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 100), st.booleans()), max_size=12), st.integers(0, 12))
def test_a_share_and_what_was_before_make_the_whole(entries: list[tuple[str, int, bool]], at: int) -> None:
    traffic = Traffic()
    before = traffic.snapshot(0.0)
    for number, (host, size_bytes, is_origin) in enumerate(entries):
        if number == at:
            before = traffic.snapshot(float(number))
        traffic.lacked(host, size_bytes, is_origin)
        traffic.received(host, "origin" if is_origin else "other_zone", size_bytes, 0.5, number + 1.0, "b")
        if not is_origin:
            traffic.faulted(host, "timeout")
    whole = traffic.snapshot(99.0)
    again = before.merged(whole.minus(before))
    assert _counts(again) == _counts(whole)


def _counts(report: TrafficReport) -> tuple[int, dict[str, HostTraffic]]:
    plain = {host.host: replace(host, first_at=None, last_at=None) for host in report.hosts}
    return report.content_bytes, {name: host for name, host in plain.items() if host.chunks or host.sent_bytes}

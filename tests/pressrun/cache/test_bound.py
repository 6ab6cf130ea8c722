"""The least time: what the published figures say, and what no order of sending can beat."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.cache.bound import HostLink, efficiency, least_s

MB = 10**6


def test_the_origin_bounds_hosts_with_fast_links() -> None:
    hosts = [HostLink(512 * MB, 1000 * MB, 1000 * MB)] * 8
    assert least_s(512 * MB, 50 * MB, hosts) == pytest.approx(10.24)


def test_hosts_that_do_not_send_have_the_origin_send_every_copy() -> None:
    hosts = [HostLink(512 * MB, math.inf, 0)] * 8
    assert least_s(512 * MB, 50 * MB, hosts) == pytest.approx(81.92)


def test_the_slowest_host_bounds_all() -> None:
    hosts = [*[HostLink(64 * MB, 100 * MB, 100 * MB)] * 3, HostLink(64 * MB, 4 * MB, 100 * MB)]
    assert least_s(64 * MB, 50 * MB, hosts) == pytest.approx(16.0)


def test_what_hosts_hold_already_costs_no_time() -> None:
    assert least_s(0, 0.0, []) == 0.0
    assert least_s(0, 0.0, [HostLink(0, 0.0, 0.0)]) == 0.0
    assert least_s(0, 0.0, [HostLink(100, 10.0, 0.0), HostLink(0, 0.0, 20.0)]) == 10.0


def test_what_cannot_come_takes_for_ever() -> None:
    assert least_s(1, 0.0, [HostLink(1, 1.0, 0.0)]) == math.inf


def test_no_time_has_no_efficiency() -> None:
    assert efficiency(0.0, 0.0) is None
    assert efficiency(8.5, 10.0) == 0.85


@given(
    size_bytes=st.integers(1, 10**12),
    origin=st.floats(1, 1e9),
    links=st.lists(st.tuples(st.floats(1, 1e9), st.floats(0, 1e9)), min_size=1, max_size=20),
    faster=st.floats(1, 10),
)
def test_faster_links_never_need_longer_and_more_hosts_never_less(
    size_bytes: int, origin: float, links: list[tuple[float, float]], faster: float
) -> None:
    hosts = [HostLink(size_bytes, down, up) for down, up in links]
    bound_s = least_s(size_bytes, origin, hosts)
    slack = 1 + 1e-9
    assert least_s(size_bytes, origin * faster, hosts) <= bound_s * slack
    assert bound_s <= least_s(size_bytes, origin, [*hosts, HostLink(size_bytes, 1.0, 0.0)]) * slack
    assert bound_s >= size_bytes / min(origin, *(down for down, _ in links)) / slack

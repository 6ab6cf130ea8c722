"""The benchmarks' hosts: links as slow as they are said to be, zones whose traffic is counted, nothing left behind."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.network_hosts import LinkSpeed, Network, NetworkHost, NoNetwork, network

SIZE = 1_000_000


@pytest.fixture
def zones() -> Iterator[Network]:
    try:
        with network(("a", "b")) as net:
            for _ in range(3):  # hosts 0 and 2 are in zone a, host 1 in zone b
                net.add_host(LinkSpeed(2e6, 2e6))
            yield net
    except NoNetwork as reason:
        pytest.skip(str(reason))


def send(sender: NetworkHost, receiver: NetworkHost) -> float:
    """Send `SIZE` bytes from host to host, and return the seconds it took."""
    listening = threading.Event()
    ports: list[int] = []

    def receive() -> None:
        receiver.enter()
        with socket.create_server((receiver.address, 0)) as server:
            ports.append(server.getsockname()[1])
            listening.set()
            with server.accept()[0] as connection:
                while connection.recv(2**16):
                    continue

    def give() -> None:
        sender.enter()
        with socket.create_connection((receiver.address, ports[0])) as connection:
            connection.sendall(bytes(SIZE))

    threads = [threading.Thread(target=receive), threading.Thread(target=give)]
    threads[0].start()
    assert listening.wait(10)
    started = time.monotonic()
    threads[1].start()
    for thread in threads:
        thread.join(30)
    return time.monotonic() - started


def test_a_link_carries_what_it_is_said_to_and_only_what_crosses_is_counted_as_crossing(zones: Network) -> None:
    first, other, near = zones.hosts
    assert send(first, near) > 0.4  # 0.5 s, less the burst
    assert max(zones.crossed_bytes().values()) < SIZE / 10
    send(first, other)
    crossed = zones.crossed_bytes()
    assert SIZE < crossed["b"] < 1.2 * SIZE
    assert crossed["a"] < SIZE / 5


def test_a_network_leaves_nothing_behind() -> None:
    try:
        with network() as net:
            net.add_host(LinkSpeed(2e6, 2e6))
            assert names()
    except NoNetwork as reason:
        pytest.skip(str(reason))
    assert not names()


def names() -> list[str]:
    """Return the devices and namespaces that this process has made and that are there."""
    return [path.name for root in ("/sys/class/net", "/var/run/netns") for path in Path(root).glob(f"pb{os.getpid()}*")]

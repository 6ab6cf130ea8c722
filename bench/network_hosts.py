"""Hosts with links of their own on one machine: Linux network namespaces on bridges, every link's speed shaped.

Each host has one link to its zone's bridge, shaped in both directions by a token bucket (tbf); bridges of two zones are
joined by one link, over which nothing goes but what hosts of one zone send to hosts of another. This process is reached
by all at `Network.address`, from each zone without crossing to the other. Needs root, `ip` and `tc`. Knows nothing of
what is sent.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_MARK = "pb"  # names begin with it and the process's id, by which those of dead processes are known
_QUEUE_S = 0.1  # what waits longer in front of a link is dropped
_BURST_BYTES = 128 * 1024
_CLONE_NEWNET = 0x40000000
_FOLDER = Path("/var/run/netns")
_OWN_ADDRESS = 1  # the last number of this process's addresses; hosts come after it


class NoNetwork(Exception):
    """Namespaces, bridges or shapers cannot be had here; the message says which."""


@dataclass(frozen=True, slots=True)
class LinkSpeed:
    """Bytes a second, headers included, that a host's link carries down to it and up from it."""

    down_bytes_per_s: float
    up_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class NetworkHost:
    """One host.

    Parameters
    ----------
    number : int
        From 0.
    zone : str
        The zone it is in.
    namespace : str
        Name of its network namespace.
    address : str
        Its IP address.
    """

    number: int
    zone: str
    namespace: str
    address: str

    def enter(self) -> None:
        """Move this thread, and those that it starts, into the host's network."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (_FOLDER / self.namespace).open() as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                error = ctypes.get_errno()
                raise NoNetwork(f"{self.namespace} cannot be entered: {os.strerror(error)}")


class Network:
    """Bridges, one a zone, and the hosts on them; made by `network`.

    Parameters
    ----------
    zones : sequence of str
        Their names; two at most.
    """

    def __init__(self, zones: Sequence[str] = ("",)) -> None:
        self.zones = tuple(zones)
        self._mark = f"{_MARK}{os.getpid()}"
        self._net = 200 + os.getpid() % 50
        self._numbers = itertools.count()
        self.hosts: list[NetworkHost] = []

    @property
    def address(self) -> str:
        """Where every host reaches this process."""
        return self._ip(0, _OWN_ADDRESS)

    def add_host(self, speed: LinkSpeed, zone: str | None = None) -> NetworkHost:
        """Give one more host, with a link of its own."""
        number = next(self._numbers)
        place = self.zones.index(zone) if zone is not None else number % len(self.zones)
        host = NetworkHost(number, self.zones[place], f"{self._mark}h{number}", self._ip(place, 10 + number))
        outer = f"{self._mark}v{number}"
        _run("ip", "netns", "add", host.namespace)
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        _run("ip", "link", "set", outer, "master", self._bridge(place), "up")
        self._set_up_inside(host, place)
        _shape([], outer, speed.down_bytes_per_s)
        _shape(["ip", "netns", "exec", host.namespace], "eth0", speed.up_bytes_per_s)
        self.hosts.append(host)
        return host

    def cut_off(self, host: NetworkHost) -> None:
        """Take a host's link down: nobody hears from it any more, and nobody is told."""
        _run("ip", "link", "set", f"{self._mark}v{host.number}", "down")

    def crossed_bytes(self) -> dict[str, int]:
        """Return what came into each zone from the other one's hosts, headers included, by the link's own counters."""
        if len(self.zones) == 1:
            return {}
        statistics = Path(f"/sys/class/net/{self._mark}x0/statistics")  # the end on the bridge of the first zone
        counted = [int((statistics / name).read_text()) for name in ("rx_bytes", "tx_bytes")]
        return dict(zip(self.zones, counted, strict=True))

    def make_bridges(self) -> None:
        """Make the zones' bridges and what joins them."""
        for place in range(len(self.zones)):
            bridge = self._bridge(place)
            _run("ip", "link", "add", bridge, "type", "bridge")
            _run("ip", "address", "add", f"{self._ip(place, _OWN_ADDRESS)}/24", "dev", bridge)
            _run("ip", "link", "set", bridge, "up")
        if len(self.zones) > 1:
            ends = [f"{self._mark}x{place}" for place in range(2)]
            _run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
            for place, end in enumerate(ends):
                _run("ip", "link", "set", end, "master", self._bridge(place), "up")

    def _set_up_inside(self, host: NetworkHost, place: int) -> None:
        inside = ("ip", "-n", host.namespace)
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")
        gateway = self._ip(place, _OWN_ADDRESS)
        if place:
            _run(*inside, "route", "add", f"{self.address}/32", "via", gateway)  # not over the zones' link
        for other in range(len(self.zones)):
            if other != place:
                _run(*inside, "route", "add", f"{self._ip(other, 0)}/24", "dev", "eth0")

    def _bridge(self, place: int) -> str:
        return f"{self._mark}b{place}"

    def _ip(self, place: int, last: int) -> str:
        return f"10.{self._net}.{place}.{last}"


@contextmanager
def network(zones: Sequence[str] = ("",)) -> Iterator[Network]:
    """Give a network without hosts yet, one a process; all of it is removed afterwards, with whatever runs in it.

    What processes that are dead left behind is removed first.

    Parameters
    ----------
    zones : sequence of str
        Names of the zones; two at most.

    Raises
    ------
    NoNetwork
        If it cannot be had here.
    """
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
        raise NoNetwork("hosts with links of their own need root, and the commands ip and tc (package iproute2)")
    _remove(lambda pid: not psutil.pid_exists(pid))
    made = Network(zones)
    try:
        made.make_bridges()
        yield made
    finally:
        _remove(lambda pid: pid == os.getpid())


def _remove(is_meant: Callable[[int], bool]) -> None:
    for namespace in _of(os.listdir(_FOLDER) if _FOLDER.is_dir() else [], is_meant):
        for pid in _run("ip", "netns", "pids", namespace).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _run("ip", "netns", "delete", namespace)
    for name in _of(os.listdir("/sys/class/net"), is_meant):
        with suppress(NoNetwork):  # a veth goes with its other end
            _run("ip", "link", "delete", name)


def _of(names: list[str], is_meant: Callable[[int], bool]) -> list[str]:
    found = ((name, re.match(rf"{_MARK}(\d+)[a-z]\d+$", name)) for name in names)
    return [name for name, match in found if match and is_meant(int(match[1]))]


def _shape(prefix: list[str], device: str, bytes_per_s: float) -> None:
    bits = f"{round(bytes_per_s * 8)}bit"
    queue = f"{round(max(bytes_per_s * _QUEUE_S, 2 * _BURST_BYTES))}b"
    shaper = ("tbf", "rate", bits, "burst", f"{_BURST_BYTES}b", "limit", queue)
    _run(*prefix, "tc", "qdisc", "add", "dev", device, "root", *shaper)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NoNetwork(f"{' '.join(command)} fails: {done.stderr.strip()}")
    return done.stdout


__all__ = ["LinkSpeed", "Network", "NetworkHost", "NoNetwork", "network"]

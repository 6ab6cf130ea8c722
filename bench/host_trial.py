"""One model to hosts with links of their own, by Pressrun's shared cache or by a rival, timed and checked from outside.

Bytes from the origin are what the origin counted, bytes between zones what a link's counters say, and every file that
arrived is compared with its source by hash. Knows nothing of faults.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import xxhash
from distributed import Future, wait

from bench.cache_bound import Fleet
from bench.cache_model import write_model
from bench.findings import Figure
from bench.host_cluster import HostCluster, host_cluster
from bench.network_hosts import LinkSpeed, NetworkHost, network
from bench.throttled_origin import Served, ThrottledOrigin, throttled_origin
from pressrun.cache.chunk_manifest import cut
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFacts, read_model
from workers.cache.joining import SharedCache
from workers.cache.origin import open_origin
from workers.model_cache import ensure_local

FOLDER = "~/.cache/pressrun/models"
_PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What is to be loaded, over which links.

    Parameters
    ----------
    hosts : int
        How many, at first.
    model_bytes : int
        Size of the model.
    chunk_bytes : int
        Size of its chunks.
    link : LinkSpeed
        Every host's link, headers included.
    origin_bytes_per_s : float
        What the origin gives in all, headers left out.
    refused_share : float
        Share of requests that the origin answers 503.
    zones : tuple of str
        Hosts are in them by turns.
    """

    hosts: int
    model_bytes: int
    chunk_bytes: int
    link: LinkSpeed
    origin_bytes_per_s: float
    refused_share: float = 0.0
    zones: tuple[str, ...] = ("",)

    @property
    def fleet(self) -> Fleet:
        """What bounds it."""
        link = self.link
        return Fleet(self.hosts, self.model_bytes, self.origin_bytes_per_s, link.down_bytes_per_s, link.up_bytes_per_s)

    def described(self, with_hosts: bool = True) -> str:
        """Return what tables of it are headed by."""
        hosts = f"{self.hosts} hosts, " if with_hosts else ""
        return (
            f"{hosts}{self.link.down_bytes_per_s / 1e6:g} MB/s each way, {self.model_bytes / 1e6:g} MB in chunks of "
            f"{self.chunk_bytes / 2**20:g} MiB, origin {self.origin_bytes_per_s / 1e6:g} MB/s"
        )


class HostTrial:
    """Hosts that are up, and a model at the origin; made by `host_trial`.

    Parameters
    ----------
    load : HostLoad
        What is to be done.
    cluster : HostCluster
        The hosts.
    origin : ThrottledOrigin
        Where the model lies.
    model : Path
        The folder that the origin serves.
    """

    def __init__(self, load: HostLoad, cluster: HostCluster, origin: ThrottledOrigin, model: Path) -> None:
        self.load, self.cluster, self.origin, self.model = load, cluster, origin, model
        self.location = Location(origin.url, origin.options)
        self.facts = read_model(self.location)
        self.size_bytes = sum(file.size_bytes for file in self.facts.files)
        self.cache = SharedCache(FOLDER)

    def share(self) -> None:
        """Have all hosts share the cache, and wait until each has joined."""
        self.cache.join(self.cluster.client)
        chunks = cut(self.location, self.facts.revision, self.facts.files, self.load.chunk_bytes)
        self.cache.offer(self.cluster.client, chunks)
        self.await_joined(len({self.cluster.host_of(name).number for name in self.cluster.names()}))

    def await_joined(self, hosts: int) -> None:
        """Wait until the registry knows so many hosts."""
        gives_up = time.monotonic() + _PATIENCE_S
        while len(self.cache.traffic(self.cluster.client).hosts) < hosts:
            if time.monotonic() > gives_up:
                raise TimeoutError(f"fewer than {hosts} hosts joined the cache in {_PATIENCE_S:g} s")
            time.sleep(0.05)

    def submit(self, names: Sequence[str]) -> dict[str, Future]:
        """Have workers load the model; each future gives the bytes that its host read from the origin."""
        submit, arguments = self.cluster.client.submit, (self.location, self.facts)
        return {name: submit(bring, *arguments, workers=[name], pure=False) for name in names}

    def figures(self, seconds: float, served: Served, hosts: Sequence[NetworkHost]) -> dict[str, Figure]:
        """Return what came of a load that took so long and had so much served, with some hosts' files compared."""
        bound_s = self.load.fleet.bound_s
        return {
            "T s": seconds,
            "bound s": bound_s,
            "efficiency": bound_s / seconds,
            "origin copies": served.body_bytes / self.size_bytes,
            "wrong files": sum(self.wrong_files(self.cluster.home(host)) for host in hosts),
            "load average": os.getloadavg()[0],
        }

    def wrong_files(self, home: Path) -> int:
        """Return how many files of the model are missing in a home's cache, or not the origin's."""
        return sum(not place.is_file() or _hash(place) != right for place, right in self._places(home).items())

    def spoilt_files(self, home: Path) -> int:
        """Return how many files of the model are in a home's cache under their names and are not the origin's."""
        return sum(place.is_file() and _hash(place) != right for place, right in self._places(home).items())

    def _places(self, home: Path) -> dict[Path, str]:
        folder = Path(FOLDER.replace("~", str(home), 1)) / self.facts.revision
        return {folder / file.path: _hash(self.model / file.path) for file in self.facts.files}


def load_by_pressrun(trial: HostTrial, names: Sequence[str] | None = None) -> dict[str, Figure]:
    """Load the model on some hosts at once, on all by default, by the shared cache, which they have joined."""
    names = trial.cluster.names() if names is None else names
    client = trial.cluster.client
    client.gather([client.submit(_connect, trial.location, workers=[name], pure=False) for name in names])
    before, crossed_before = trial.origin.served(), trial.cluster.net.crossed_bytes()
    started_s = time.monotonic()
    futures = trial.submit(names)
    wait(list(futures.values()), timeout=_PATIENCE_S)
    seconds = time.monotonic() - started_s
    for future in futures.values():
        future.result()
    hosts = [trial.cluster.host_of(name) for name in names]
    found = trial.figures(seconds, trial.origin.served() - before, hosts)
    crossed = {
        f"S into zone {zone}": (count - crossed_before[zone]) / trial.size_bytes
        for zone, count in trial.cluster.net.crossed_bytes().items()
    }
    return found | crossed


def load_by_rival(trial: HostTrial, module: str) -> dict[str, Figure]:
    """Load the model on all hosts at once by a rival that has each read the origin for itself."""
    client, settings = trial.cluster.client, {"url": trial.origin.url, "options": trial.origin.options}
    names = trial.cluster.names()
    opened = [client.submit(_open, module, settings, workers=[name], pure=False) for name in names]
    client.gather(opened)
    before, started_s = trial.origin.served(), time.monotonic()
    client.gather([client.submit(_pull, workers=[name], pure=False) for name in names])
    seconds = time.monotonic() - started_s
    found = trial.figures(seconds, trial.origin.served() - before, [])
    folders = [trial.cluster.home(trial.cluster.host_of(name)) / module for name in names]
    right = {file.path: _hash(trial.model / file.path) for file in trial.facts.files}
    wrong = sum(_hash(folder / path) != digest for folder in folders for path, digest in right.items())
    return found | {"wrong files": wrong}


@contextmanager
def host_trial(load: HostLoad, scratch: Path) -> Iterator[HostTrial]:
    """Give hosts that are up and a model at the origin; all of it is removed afterwards.

    Parameters
    ----------
    load : HostLoad
        What is to be loaded.
    scratch : Path
        An empty folder in memory, for the model and the hosts' homes.

    Raises
    ------
    NoNetwork
        If hosts with links of their own cannot be had here.
    """
    write_model(scratch / "model", load.model_bytes)
    rate, refused = load.origin_bytes_per_s, load.refused_share
    with network(load.zones) as net:
        hosts = [net.add_host(load.link) for _ in range(load.hosts)]
        with (
            throttled_origin(scratch / "model", rate, refused, net.address) as origin,
            host_cluster(net, scratch / "homes", hosts) as cluster,
        ):
            yield HostTrial(load, cluster, origin, scratch / "model")


def bring(location: Location, facts: ModelFacts) -> int:
    """Load a model on this host, and return the bytes read from the origin for it; a task for workers."""
    return ensure_local(location, facts, Path(FOLDER).expanduser()).origin_bytes


def _connect(location: Location) -> None:
    """Connect to the origin before the clock starts, as the rivals' hosts do; all share one machine's cores here."""
    open_origin(location)


_OPENED: list[Any] = []


def _open(module: str, settings: dict[str, Any]) -> None:
    folder = Path.home() / module
    folder.mkdir()
    _OPENED.append(import_module(f"bench.rivals.{module}").open_pull(settings, folder))


def _pull() -> None:
    _OPENED.pop()()


def _hash(path: Path) -> str:
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(2**24):
            hasher.update(block)
    return hasher.hexdigest()


__all__ = ["FOLDER", "HostLoad", "HostTrial", "bring", "host_trial", "load_by_pressrun", "load_by_rival"]

"""A Dask cluster whose workers are hosts of their own: each in its network namespace, with a home and so a cache.

The scheduler and the client are in the root namespace. Knows nothing of models.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import dask
from distributed import Client, Scheduler, Worker

from bench.network_hosts import Network, NetworkHost

_IMPORTED = ("__main__", "distributed", "obstore", "s3fs", "workers.cache.joining", "workers.model_cache")
_PR_SET_PDEATHSIG = 1
_STARTS_WITHIN_S = 120.0
_THREADS = 2
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # a task whose host is gone is not for another host
    "distributed.worker.daemon": False,
    "distributed.worker.profile.enabled": False,  # each samples 100 times a second, on one machine's cores
}


class HostCluster:
    """A scheduler, a client, and a process or more on every host; made by `host_cluster`.

    Parameters
    ----------
    net : Network
        Where hosts are.
    homes : Path
        Folder of their homes.
    """

    def __init__(self, net: Network, homes: Path) -> None:
        self.net = net
        self.homes = homes
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_IMPORTED))
        self._workers: dict[str, BaseProcess] = {}
        self._hosts: dict[str, NetworkHost] = {}
        homes.mkdir(parents=True, exist_ok=True)
        told, tells = self._context.Pipe(duplex=False)
        arguments = (net.address, tells, homes / "scheduler.log")
        self.scheduler: BaseProcess = self._context.Process(target=_schedule, args=arguments, daemon=True)
        self.scheduler.start()
        if not told.poll(_STARTS_WITHIN_S):
            raise TimeoutError(f"the scheduler is not there after {_STARTS_WITHIN_S:g} s")
        self.client = Client(told.recv())

    def start(self, host: NetworkHost, process: int = 0) -> str:
        """Begin to start a worker, one of those of a host, and return its name; `await_all` waits for it."""
        home, name = self.home(host), f"host-{host.number}-{process}"
        home.mkdir(parents=True, exist_ok=True)
        arguments = (host, home, self.client.scheduler.address, name)
        self._workers[name] = self._context.Process(target=_work, args=arguments, daemon=True)
        self._workers[name].start()
        self._hosts[name] = host
        return name

    def await_all(self) -> None:
        """Wait until the scheduler knows every worker that was started and not killed."""
        self.client.wait_for_workers(len(self._workers), timeout=_STARTS_WITHIN_S)

    def names(self) -> list[str]:
        """Return the names of the workers that were not killed, in the order of their hosts."""
        return list(self._workers)

    def host_of(self, name: str) -> NetworkHost:
        """Return the host of a worker."""
        return self._hosts[name]

    def home(self, host: NetworkHost) -> Path:
        """Return a host's home folder."""
        return self.homes / f"host-{host.number}"

    def kill(self, name: str) -> None:
        """End a worker by SIGKILL."""
        process = self._workers.pop(name)
        process.kill()
        process.join()

    def close(self) -> None:
        """End everything by SIGKILL, the scheduler last."""
        for name in self.names():
            self.kill(name)
        self.client.close(timeout=5)
        self.kill_scheduler()

    def kill_scheduler(self) -> None:
        """End the scheduler by SIGKILL."""
        self.scheduler.kill()
        self.scheduler.join()


@contextmanager
def host_cluster(net: Network, homes: Path, hosts: list[NetworkHost], processes: int = 1) -> Iterator[HostCluster]:
    """Give a cluster with a worker or more on each of some hosts; it is ended afterwards."""
    with dask.config.set(_SETTINGS):
        cluster = HostCluster(net, homes)
        try:
            for host in hosts:
                for process in range(processes):
                    cluster.start(host, process)
            cluster.await_all()
            yield cluster
        finally:
            cluster.close()


def _schedule(address: str, tells: Connection, log: Path) -> None:
    async def run() -> None:
        async with Scheduler(host=address, port=0, dashboard_address=f"{address}:0") as scheduler:
            tells.send(scheduler.address)
            await scheduler.finished()

    _settle(log)
    with dask.config.set(_SETTINGS):
        asyncio.run(run())


def _work(host: NetworkHost, home: Path, scheduler: str, name: str) -> None:
    async def run() -> None:
        folder = str(home / "dask")
        options = {"nthreads": _THREADS, "memory_limit": 0, "local_directory": folder, "dashboard": False}
        async with Worker(scheduler, name=name, host=host.address, **options) as worker:
            await worker.finished()

    _settle(home / f"{name}.log")
    host.enter()
    os.environ |= {"HOME": str(home), "PRESSRUN_ZONE": host.zone}
    with dask.config.set(_SETTINGS):
        asyncio.run(run())


def _settle(log: Path) -> None:
    """End with the process that this one was forked for, and keep a log."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for output in (1, 2):
        os.dup2(descriptor, output)
    logging.getLogger("distributed").setLevel(logging.WARNING)


__all__ = ["HostCluster", "host_cluster"]

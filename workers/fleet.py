"""The Dask workers of one run: opened, scaled and closed as one thing.

Knows nothing of batches or models. Closing twice is the same as closing once.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import dask
import psutil
from distributed import Client, LocalCluster

from pressrun.errors import StageFailed
from pressrun.processes import place_digest
from workers.gpus import OneGpuEach, gpu_count
from workers.worker_settings import ALLOCATOR, UNWATCHED, worker_environment

# One task denoises while the other decodes and publishes.
THREADS_PER_WORKER = 2
_WORKER_TTL = "15 minutes"  # loading and compiling hold the GIL for minutes; the default of 5 counts that as death
_IDLE_TIMEOUT = "30 minutes"
_START_TIMEOUT_S = 120
_CLOSING_S = 15.0  # of the 25 that a tear-down has; a worker that is just starting has to come up first
_FOLDER = "pressrun-dask-"
# A batch whose worker died twice is bisected or tried alone; more deaths by it would only cost its neighbours time.
_DEATHS_FORGIVEN = 1
logger = logging.getLogger(__name__)


class Fleet(Protocol):
    """Workers that a run may use."""

    @property
    def largest(self) -> int:
        """The most workers this fleet can have."""
        ...

    @property
    def client(self) -> Client | None:
        """The client of an open fleet; None while it is not open."""
        ...

    def open(self) -> Client:
        """Start or join the workers, at the smallest size, and return a client; an open fleet returns its client."""
        ...

    def begin_scaling(self, workers: int) -> None:
        """Begin to bring the fleet to that many workers; they join when they are there."""
        ...

    def scale(self, workers: int) -> int:
        """Bring the fleet to that many workers, and return how many there are."""
        ...

    def close(self) -> None:
        """Stop what `open` started; nothing of the run keeps running afterwards."""
        ...

    def record(self) -> Mapping[str, str | int]:
        """Return what another process needs to know to clean up after this one."""
        ...


@dataclass(slots=True)
class LocalFleet:
    """Worker processes on this host: one a GPU where there are GPUs, else as many as asked.

    Parameters
    ----------
    workers : int or None
        Worker processes; None takes one a GPU, or one for every core.
    memory_limit_bytes : int or None
        Memory at which a worker is restarted; None sets no limit, as models are larger than Dask expects.
    """

    workers: int | None = None
    memory_limit_bytes: int | None = None
    _cluster: LocalCluster | None = None
    _client: Client | None = None
    _folder: Path | None = None

    @property
    def largest(self) -> int:
        """The most workers this fleet can have; never more than GPUs where there are any."""
        gpus = gpu_count()
        return min(self.workers or gpus, gpus) if gpus else self.workers or os.cpu_count() or 1

    @property
    def client(self) -> Client | None:
        """The client of an open fleet; None while it is not open."""
        return self._client

    def open(self) -> Client:
        """Start the scheduler and one worker, and return a client."""
        if self._client is not None:
            return self._client
        _quiet()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{place_digest()}-{os.getpid()}-"))
        with dask.config.set({"distributed.scheduler.worker-ttl": _WORKER_TTL, "distributed.admin.tick.limit": "1h"}):
            try:
                self._cluster = self._start()
                self._client = Client(self._cluster)
                _await_workers(self._client, 1)
            except BaseException:  # another try must find neither half of a fleet nor leave one behind
                self.close()
                raise
        return self._client

    def begin_scaling(self, workers: int) -> None:
        """Begin to start workers, up to `workers` of them and at most `largest`; never fewer than there are."""
        if self._cluster is not None:
            self._cluster.scale(max(len(self._cluster.worker_spec), min(workers, self.largest)))

    def scale(self, workers: int) -> int:
        """Bring the fleet to `workers` processes, at most `largest`; those that do not come in time are done without.

        Raises
        ------
        StageFailed
            When not one is there in time.
        """
        if self._cluster is None or self._client is None:
            raise StageFailed("The local fleet is not open, so it cannot be scaled; open it first.")
        wanted = max(1, min(workers, self.largest))
        self._cluster.scale(wanted)
        return _await_workers(self._client, wanted)

    def close(self) -> None:
        """Stop the workers and the scheduler, and remove their folder."""
        client, cluster, folder = self._client, self._cluster, self._folder
        self._client = self._cluster = self._folder = None
        if client is not None:
            client.close()
        if cluster is not None:
            cluster.close(timeout=_CLOSING_S)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        _remove_folders_of_the_dead()

    def record(self) -> Mapping[str, str | int]:
        """Return the process that owns the workers; they exit when it does."""
        return {"kind": "local", "pid": os.getpid()}

    def _start(self) -> LocalCluster:
        options: dict[str, Any] = {
            "threads_per_worker": THREADS_PER_WORKER,
            "host": "127.0.0.1",
            "dashboard_address": "127.0.0.1:0",  # without it the scheduler's HTTP port listens on every interface
            "memory_limit": self.memory_limit_bytes or 0,
            "local_directory": str(self._folder),
            "silence_logs": logging.ERROR,
            "preload": ["workers.preload"],
            "scheduler_kwargs": {"idle_timeout": _IDLE_TIMEOUT, "allowed_failures": _DEATHS_FORGIVEN},
        }
        environment = worker_environment(self.largest)
        # For good, as workers that start later get it from here; the first is read before a worker's Python starts.
        dask.config.set({"distributed.nanny.pre-spawn-environ": ALLOCATOR, **UNWATCHED})
        if gpu_count() and find_spec("dask_cuda"):
            from dask_cuda import LocalCUDACluster

            os.environ.update(environment)  # it sets each worker's environment itself; workers inherit this one
            return LocalCUDACluster(n_workers=self.largest, **options)
        kind = OneGpuEach if gpu_count() else LocalCluster
        cluster = kind(n_workers=0, processes=True, env=environment, **options)
        cluster.scale(1)
        return cluster


@dataclass(slots=True)
class JoinedFleet:
    """Workers that somebody else started; a run borrows them and leaves them running.

    Parameters
    ----------
    address : str
        Scheduler address, as "tcp://host:8786".
    connect_timeout_s : float
        How long to wait for the scheduler and its first worker.
    """

    address: str
    connect_timeout_s: float = 30.0
    _client: Client | None = None

    @property
    def largest(self) -> int:
        """The workers that are there now; a joined fleet is not scaled."""
        return len(self.open().scheduler_info(n_workers=-1)["workers"])

    @property
    def client(self) -> Client | None:
        """The client of an open fleet; None while it is not open."""
        return self._client

    def open(self) -> Client:
        """Connect to the scheduler.

        Raises
        ------
        StageFailed
            When it does not answer, or has no workers.
        """
        if self._client is not None:
            return self._client
        _quiet()
        try:
            self._client = Client(self.address, timeout=self.connect_timeout_s, set_as_default=False)
            self._await_any(self._client)
        except (OSError, TimeoutError) as error:
            self.close()
            raise StageFailed(
                f"No Dask workers at {self.address} within {self.connect_timeout_s:.0f} s ({error}); "
                "check the address, and that the scheduler runs and has workers."
            ) from error
        return self._client

    def _await_any(self, client: Client) -> None:
        """Wait for a worker; one that a run holds back while it warms it will do, which Dask's own waiting ignores."""
        until_s = time.monotonic() + self.connect_timeout_s
        while not client.scheduler_info(n_workers=-1)["workers"]:
            if time.monotonic() > until_s:
                raise TimeoutError("it answers, and has none")
            time.sleep(0.1)

    def begin_scaling(self, workers: int) -> None:
        """Do nothing: a joined fleet is not scaled."""

    def scale(self, workers: int) -> int:
        """Return how many workers there are; `workers` is only a wish here."""
        return min(workers, self.largest) or self.largest

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def record(self) -> Mapping[str, str | int]:
        """Return the scheduler's address."""
        return {"kind": "joined", "address": self.address}


def _remove_folders_of_the_dead() -> None:
    """Remove the workers' folders of processes that were killed before they could do so themselves."""
    prefix = f"{_FOLDER}{place_digest()}-"  # process ids of a container that shares the folder say nothing here
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        owner = folder.name.removeprefix(prefix).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _await_workers(client: Client, wanted: int) -> int:
    """Return how many workers there are once `wanted` are, or once waiting longer makes no sense."""
    try:
        client.wait_for_workers(wanted, timeout=_START_TIMEOUT_S)
    except TimeoutError:
        there = len(client.scheduler_info(n_workers=-1)["workers"])
        logger.warning("%d of %d workers started within %d s", there, wanted, _START_TIMEOUT_S)
        if there == 0:
            raise StageFailed(
                f"0 of {wanted} workers started within {_START_TIMEOUT_S} s; look at this machine's load and memory, "
                "and run the job again."
            ) from None
        return there
    return wanted


def _quiet() -> None:
    # Prefect configures the root logger, so Dask's INFO lines would flood the console.
    logging.getLogger("distributed").setLevel(logging.ERROR)

"""The Dask workers of one run: opened, scaled and closed as one thing.

Knows nothing of batches or models. Closing twice is the same as closing once.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import dask
from distributed import Client, LocalCluster

from pressrun.errors import StageFailed

# One task renders under the device lock while the other publishes.
THREADS_PER_WORKER = 2
_WORKER_TTL = "15 minutes"  # loading and compiling hold the GIL for minutes; the default of 5 counts that as death
_IDLE_TIMEOUT = "30 minutes"


class Fleet(Protocol):
    """Workers that a run may use."""

    @property
    def largest(self) -> int:
        """The most workers this fleet can have."""
        ...

    def open(self) -> Client:
        """Start or join the workers, at the smallest size, and return a client; an open fleet returns its client."""
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
        """The most workers this fleet can have."""
        return self.workers or gpu_count() or os.cpu_count() or 1

    def open(self) -> Client:
        """Start the scheduler and one worker, and return a client."""
        if self._client is not None:
            return self._client
        _quiet()
        self._folder = Path(tempfile.mkdtemp(prefix="pressrun-dask-"))
        with dask.config.set({"distributed.scheduler.worker-ttl": _WORKER_TTL, "distributed.admin.tick.limit": "1h"}):
            self._cluster = self._start()
            self._client = Client(self._cluster)
        return self._client

    def scale(self, workers: int) -> int:
        """Bring the fleet to `workers` processes, at most `largest`, and wait for them."""
        if self._cluster is None or self._client is None:
            raise StageFailed("The local fleet is not open, so it cannot be scaled; open it first.")
        wanted = max(1, min(workers, self.largest))
        self._cluster.scale(wanted)
        self._client.wait_for_workers(wanted, timeout=120)
        return wanted

    def close(self) -> None:
        """Stop the workers and the scheduler, and remove their folder."""
        client, cluster, folder = self._client, self._cluster, self._folder
        self._client = self._cluster = self._folder = None
        if client is not None:
            client.close()
        if cluster is not None:
            cluster.close(timeout=10)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def record(self) -> Mapping[str, str | int]:
        """Return the process that owns the workers; they exit when it does."""
        return {"kind": "local", "pid": os.getpid()}

    def _start(self) -> LocalCluster:
        if gpu_count() and _has_dask_cuda():
            from dask_cuda import LocalCUDACluster

            return LocalCUDACluster(n_workers=self.largest, threads_per_worker=THREADS_PER_WORKER)
        return LocalCluster(
            n_workers=1,
            threads_per_worker=THREADS_PER_WORKER,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # without it the scheduler's HTTP port listens on every interface
            memory_limit=self.memory_limit_bytes or 0,
            local_directory=str(self._folder),
            silence_logs=logging.ERROR,
            scheduler_kwargs={"idle_timeout": _IDLE_TIMEOUT},
            env=_environment(self.largest),
        )


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
            self._client.wait_for_workers(1, timeout=self.connect_timeout_s)
        except (OSError, TimeoutError) as error:
            self.close()
            raise StageFailed(
                f"No Dask workers at {self.address} within {self.connect_timeout_s:.0f} s ({error}); "
                "check the address, and that the scheduler runs and has workers."
            ) from error
        return self._client

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


def gpu_count() -> int:
    """Return how many GPUs this process may use, without importing torch where there can be none."""
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():
        return 0
    import torch

    return int(torch.cuda.device_count())


def _has_dask_cuda() -> bool:
    from importlib.util import find_spec

    return find_spec("dask_cuda") is not None


def _environment(workers: int) -> dict[str, str]:
    """Return the workers' environment: cores shared out, libraries quiet, hubs never asked."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))  # Dask's nanny would preset one a process
    return {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads),
        "DASK_LOGGING__DISTRIBUTED": "error",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "HF_HUB_OFFLINE": "1",
    }


def _quiet() -> None:
    # Prefect configures the root logger, so Dask's INFO lines would flood the console.
    logging.getLogger("distributed").setLevel(logging.ERROR)

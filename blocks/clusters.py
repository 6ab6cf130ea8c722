"""Blocks for the workers a job runs on.

Know nothing of jobs. A block hands out a `Fleet`, which is opened and closed by the flow.
"""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field

from blocks.forms import may_be_empty
from workers.fleet import Fleet, JoinedFleet, LocalFleet


class LocalDaskCluster(Block):
    """Worker processes on the machine that runs the flow, started and stopped with the run."""

    _block_type_name = "Pressrun Local Cluster"
    _block_type_slug = "pressrun-local-cluster"
    _description = "Dask worker processes on the machine that runs the flow: one a GPU, or one a core without GPUs."

    workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        title="Workers",
        description="Worker processes: 1 to 256; empty for one a GPU, or one a core.",
        json_schema_extra=may_be_empty,
    )
    memory_limit_gb: float | None = Field(
        default=None,
        gt=0,
        title="Memory limit (GB)",
        description="Memory at which a worker is restarted; empty for no limit.",
        json_schema_extra=may_be_empty,
    )
    price_per_worker_hour: float | None = Field(
        default=None,
        ge=0,
        title="Price per worker-hour",
        description="For cost figures, in your currency; empty for none.",
        json_schema_extra=may_be_empty,
    )

    def fleet(self) -> Fleet:
        """Return the fleet, not yet open."""
        limit = None if self.memory_limit_gb is None else int(self.memory_limit_gb * 1e9)
        return LocalFleet(self.workers, limit)

    def check(self) -> str:
        """Start one worker, stop it again, and return one line about it."""
        return _check(self.fleet())


class ExistingDaskCluster(Block):
    """A Dask scheduler that runs already; the run borrows its workers and leaves them running."""

    _block_type_name = "Pressrun Existing Cluster"
    _block_type_slug = "pressrun-existing-cluster"
    _description = "A running Dask scheduler whose workers have Pressrun installed; they are left running."

    address: str = Field(
        title="Scheduler address",
        description="As the scheduler prints it at its start.",
        examples=["tcp://10.0.0.5:8786"],
        pattern=r"^[a-z]+://.+:\d+$",
    )
    price_per_worker_hour: float | None = Field(
        default=None,
        ge=0,
        title="Price per worker-hour",
        description="For cost figures, in your currency; empty for none.",
        json_schema_extra=may_be_empty,
    )

    def fleet(self) -> Fleet:
        """Return the fleet, not yet connected."""
        return JoinedFleet(self.address)

    def check(self) -> str:
        """Connect, disconnect, and return one line about it.

        Raises
        ------
        StageFailed
            When no scheduler with a worker answers at the address.
        """
        return _check(self.fleet())


def _check(fleet: Fleet) -> str:
    try:
        info = fleet.open().scheduler_info(n_workers=-1)
        workers = info["workers"].values()
        return f"{info['address']}: {len(workers)} workers, {sum(w['nthreads'] for w in workers)} threads"
    finally:
        fleet.close()

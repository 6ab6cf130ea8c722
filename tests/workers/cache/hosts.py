"""Dask workers that are hosts of their own: each has its own home, and so its own cache folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster


class HostEach(LocalCluster):  # type: ignore[misc]
    """A local cluster whose workers share no folder, with their zones by turns."""

    homes: Path
    zones: tuple[str, ...] = ("",)

    def new_worker_spec(self) -> dict[Any, Any]:
        ((name, spec),) = super().new_worker_spec().items()
        home = self.homes / f"host-{name}"
        home.mkdir(parents=True, exist_ok=True)
        environment = {"HOME": str(home), "PRESSRUN_ZONE": self.zones[int(name) % len(self.zones)]}
        return {name: spec | {"options": spec["options"] | {"env": environment}}}


@contextmanager
def hosts(homes: Path, number: int, zones: tuple[str, ...] = ("",)) -> Iterator[tuple[HostEach, Client]]:
    """Give a cluster of that many hosts, with a client."""
    kind = type("HostEachHere", (HostEach,), {"homes": homes, "zones": zones})
    with (
        kind(
            n_workers=0, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(number)  # workers that stand from the start are not asked for their spec
        client.wait_for_workers(number)
        yield cluster, client

"""What a run's workers load from their hosts' memory instead of from a disk: told by them, counted by the run.

Knows nothing of how weights are loaded, nor of how models came to a host: it counts under every runtime.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distributed import Client

from pressrun.cache.traffic import Traffic
from pressrun.cache.traffic_report import TrafficReport
from workers.cache.host_name import ip_of
from workers.cache.links import link_for
from workers.cache.metrics import cache_metrics
from workers.direct_calls import calling_worker
from workers.order import PrintOrder

_TOPIC = "pressrun-memory"


class MemoryLoads:
    """The account of one run's loads from memory, for as long as its client is open; safe for several threads.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    run_id : str
        The run; what other runs' workers tell is passed over.
    """

    def __init__(self, client: Client, run_id: str) -> None:
        self._run_id = run_id
        self._bytes: Counter[str] = Counter()
        self._lock = threading.Lock()
        client.subscribe_topic(_TOPIC, self._hear)

    def report(self) -> TrafficReport:
        """Return what every host's workers have loaded from its memory so far."""
        traffic = Traffic()
        with self._lock:
            for host, size_bytes in self._bytes.items():
                traffic.held(host, size_bytes, "memory")
        return traffic.snapshot(0.0)

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        told = event[1]
        if told["run"] == self._run_id:
            with self._lock:
                self._bytes[told["host"]] += told["bytes"]


def tell_memory_load(order: PrintOrder, size_bytes: int) -> None:
    """Count what this process has loaded from its host's memory, and tell the run; called on a worker.

    Parameters
    ----------
    order : PrintOrder
        The run's.
    size_bytes : int
        Of files that were in memory already; 0 is not worth telling.
    """
    if not size_bytes:
        return
    cache_metrics().held(size_bytes, "memory")
    worker = calling_worker()
    if worker is None:  # outside a cluster nobody listens
        return
    link = link_for(Path(order.cache_folder).expanduser()) if order.cache.runtime == "peer" else None
    host = link.host if link else ip_of(worker.address)
    worker.log_event(_TOPIC, {"run": order.run_id, "host": host, "bytes": size_bytes})


__all__ = ["MemoryLoads", "tell_memory_load"]

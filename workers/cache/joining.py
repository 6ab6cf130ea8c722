"""Having a cluster's workers share one cache.

Knows nothing of how they do it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from distributed import Client, Scheduler

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.cache.sources import Limits
from pressrun.cache.traffic_report import TrafficReport
from workers.cache.channel import stream_op
from workers.cache.scheduler_part import CacheRegistry
from workers.cache.worker_part import CacheLink, CacheSettings

_TOKEN_BYTES = 32
_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class SharedCache:
    """The cache that the workers of a cluster share; a cache of the same folder and tenant is the same one.

    Parameters
    ----------
    folder : str
        Cache folder on every host; "~" is each host's own.
    tenant : str
        Who may use it; other tenants have other folders and tokens.
    budget_bytes : int or None
        Disk that it may take on a host; None sets no limit.
    limits : Limits
        What may happen at once.
    """

    folder: str
    tenant: str = ""
    budget_bytes: int | None = None
    limits: Limits = _DEFAULT_LIMITS

    @property
    def channel(self) -> str:
        """Name of the cache in its cluster."""
        return hashlib.blake2b(f"{self.tenant}\0{self.folder}".encode(), digest_size=8).hexdigest()

    def join(self, client: Client) -> None:
        """Have the scheduler keep the registry, and every worker that is there or comes a link; once is enough."""
        client.register_plugin(CacheRegistry(self.channel, self.limits))  # first, as links talk to it at once
        token = secrets.token_bytes(_TOKEN_BYTES)  # where the cache stands already, its links have theirs and keep it
        client.register_plugin(
            CacheLink(CacheSettings(self.channel, self.folder, token, self.limits, self.budget_bytes))
        )

    def offer(self, client: Client, manifest: ChunkManifest) -> None:
        """Have every host use this manifest of a revision, whose hashes are known before anything is read."""
        client.run_on_scheduler(_offer, channel=self.channel, manifest=manifest)

    def traffic(self, client: Client) -> TrafficReport:
        """Return what came from where, to all hosts, since the cache was first joined."""
        report: TrafficReport = client.run_on_scheduler(_traffic, channel=self.channel)
        return report


def _offer(channel: str, manifest: ChunkManifest, dask_scheduler: Scheduler) -> None:
    dask_scheduler.plugins[stream_op(channel)].offer(manifest)


def _traffic(channel: str, dask_scheduler: Scheduler) -> TrafficReport:
    report: TrafficReport = dask_scheduler.plugins[stream_op(channel)].traffic()
    return report


__all__ = ["SharedCache"]

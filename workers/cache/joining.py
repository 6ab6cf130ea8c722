"""Having a cluster's workers share one cache.

Knows nothing of how they do it.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from distributed import Client, Scheduler, Worker

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.cache.sources import Limits
from pressrun.cache.traffic_report import TrafficReport
from workers.cache import upkeep
from workers.cache.channel import stream_op
from workers.cache.links import LINKS
from workers.cache.scheduler_part import CacheRegistry
from workers.cache.settings import CacheSettings
from workers.cache.worker_part import CacheLink

logger = logging.getLogger(__name__)
_TOKEN_BYTES = 32
_DRAIN_S = 600.0
_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class SharedCache:
    """The cache that the workers of a cluster share; a cache of another folder is another one, with its own token.

    Parameters
    ----------
    folder : str
        Cache folder on every host; "~" is each host's own.
    budget_bytes : int or None
        Disk that it may take on every host from the next `join` on; None leaves what is set there.
    limits : Limits
        What may happen at once.
    """

    folder: str
    budget_bytes: int | None = None
    limits: Limits = _DEFAULT_LIMITS

    @property
    def channel(self) -> str:
        """Name of the cache in its cluster."""
        return hashlib.blake2b(self.folder.encode(), digest_size=8).hexdigest()

    def join(self, client: Client) -> None:
        """Have the scheduler keep the registry, and every worker that is there or comes a link.

        Once is enough, but that workers whose folder could not be had then try again whenever this is called.
        """
        client.register_plugin(CacheRegistry(self.channel, self.limits))  # first, as links talk to it at once
        token = secrets.token_bytes(_TOKEN_BYTES)  # where the cache stands already, its links have theirs and keep it
        with suppress(OSError):  # a worker without a folder; the others have joined
            client.register_plugin(CacheLink(CacheSettings(self.channel, self.folder, token, self.limits)))
        for worker, problem in client.run(_linked, self.channel, on_error="return").items():
            if isinstance(problem, Exception):
                logger.warning("The worker %s could not join the cache %s: %s", worker, self.folder, problem)
        if self.budget_bytes is not None:
            self.set_budget(client, self.budget_bytes)

    def set_budget(self, client: Client, budget_bytes: int) -> None:
        """Have every host, and those that come later, make room within this from now on; what was set last counts.

        Parameters
        ----------
        client : distributed.Client
            The cluster.
        budget_bytes : int
            Disk on a host; `UNLIMITED_BYTES` sets no limit. What is there beyond it goes when room is needed, or by
            `shrink_to`.
        """
        client.run_on_scheduler(_set_budget, channel=self.channel, budget_bytes=budget_bytes)

    def shrink_to(self, client: Client, size_bytes: int) -> dict[str, int]:
        """Have every host drop the bytes of what was used longest ago, until no more than so many are left.

        Manifests stay, and what is in use or being filled.

        Returns
        -------
        dict of str to int
            Bytes that are left, by host.
        """
        return upkeep.shrink_to(client, self.folder, size_bytes)

    def drop(self, client: Client, revision: str) -> dict[str, str]:
        """Have every host drop a revision with all that is known of it.

        Returns
        -------
        dict of str to str
            By host why it is still there; "" where it is gone.
        """
        return upkeep.drop(client, self.folder, revision)

    def drain(self, client: Client, workers: Collection[str], timeout_s: float = _DRAIN_S) -> dict[str, str]:
        """Before workers are retired, have hosts that stay take over what only their hosts have whole.

        It comes from the hosts that leave, never from an origin. What cannot be handed over is logged.

        Parameters
        ----------
        client : distributed.Client
            The cluster.
        workers : collection of str
            Addresses of the workers that are going to leave.
        timeout_s : float
            How long it may take in all.

        Returns
        -------
        dict of str to str
            For each such revision why it could not be handed over; "" where it was.
        """
        return upkeep.drain(client, self.folder, workers, timeout_s)

    def offer(self, client: Client, manifest: ChunkManifest) -> None:
        """Have every host use this manifest of a revision, whose hashes are known before anything is read."""
        client.run_on_scheduler(_offer, channel=self.channel, manifest=manifest)

    def traffic(self, client: Client) -> TrafficReport:
        """Return what came from where, to all hosts, since the cache was first joined."""
        report: TrafficReport = client.run_on_scheduler(_traffic, channel=self.channel)
        return report


def _linked(channel: str, dask_worker: Worker) -> None:
    """Have a worker without a link, whose folder could not be had before, try again; called on the worker."""
    link = dask_worker.plugins.get(stream_op(channel))
    if link is not None and link not in LINKS:
        link.setup(dask_worker)


def _offer(channel: str, manifest: ChunkManifest, dask_scheduler: Scheduler) -> None:
    dask_scheduler.plugins[stream_op(channel)].offer(manifest)


def _set_budget(channel: str, budget_bytes: int, dask_scheduler: Scheduler) -> None:
    dask_scheduler.plugins[stream_op(channel)].set_budget(budget_bytes)


def _traffic(channel: str, dask_scheduler: Scheduler) -> TrafficReport:
    report: TrafficReport = dask_scheduler.plugins[stream_op(channel)].traffic()
    return report


__all__ = ["SharedCache"]

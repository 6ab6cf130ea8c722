"""Models brought to every host of a cluster, and the account of how they came.

Knows nothing of runs. A host's workers share one copy, so one of them asks for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from distributed import Client

from pressrun.cache.published import manifest_for
from pressrun.cache.traffic import Traffic
from pressrun.cache.traffic_report import TrafficReport
from pressrun.errors import StageFailed
from pressrun.location import Location
from pressrun.models.any_folder import AnyFacts
from workers.cache.bring_watch import telling_progress
from workers.cache.joining import SharedCache
from workers.cache.revision_folder import RevisionFolder
from workers.cache.worker_part import link_for
from workers.model_cache import ensure_local

Need = tuple[Location, AnyFacts]


class Delivery:
    """What one caller has brought to the hosts of a cluster, which may hold much more.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    cache : SharedCache
        The cache that its workers share; joined if they do not yet.
    """

    def __init__(self, client: Client, cache: SharedCache) -> None:
        cache.join(client)
        self._client, self._cache = client, cache
        self._before = cache.traffic(client)
        self._held = TrafficReport()  # what was there before is no news to the registry

    def bring(self, needs: Iterable[Need]) -> int:
        """Have one worker of each host make sure of each model, telling how far they are.

        Returns
        -------
        int
            The hosts.

        Raises
        ------
        InvalidModel
            When a file cannot be had.
        """
        hosts = self._client.run(_host, self._cache.folder)
        one_a_host = {host: address for address, host in hosts.items()}
        asked = []
        with telling_progress(self.traffic):
            for location, facts in needs:
                if not location.is_local:
                    self._cache.offer(self._client, manifest_for(location, facts))
                asked.append({host: self._ask(address, location, facts) for host, address in one_a_host.items()})
            for had_bytes in self._client.gather(asked):
                self._enter(had_bytes)
        return len(one_a_host)

    def traffic(self) -> TrafficReport:
        """Return how things came so far, what came to hosts that joined later included."""
        return self._cache.traffic(self._client).minus(self._before).merged(self._held)

    def _ask(self, address: str, location: Location, facts: AnyFacts) -> object:
        folder = self._cache.folder
        return self._client.submit(
            _had_bytes, location, facts, folder, workers=[address], allow_other_workers=True, pure=False
        )

    def _enter(self, had_bytes: Mapping[str, int]) -> None:
        found = Traffic()
        for host in filter(had_bytes.get, had_bytes):
            found.held(host, had_bytes[host])
        self._held = self._held.merged(found.snapshot(0.0))


def _host(cache_folder: str) -> str:
    """Return the name of a worker's host in the cache; called on it."""
    link = link_for(Path(cache_folder).expanduser())
    if link is None:
        raise StageFailed(f"A worker does not share the cache {cache_folder}: it could not join; look at its log.")
    return link.host


def _had_bytes(location: Location, facts: AnyFacts, cache_folder: str) -> int:
    """Make sure of a model on a worker's host, and return its size if all of it was there; called on the worker."""
    root = Path(cache_folder).expanduser()
    was_here = not location.is_local and RevisionFolder(root, facts.revision).complete() is not None
    ensure_local(location, facts, root)
    return sum(file.size_bytes for file in facts.files) if was_here else 0


__all__ = ["Delivery", "Need"]

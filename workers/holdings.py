"""Which models the workers of a cluster hold, in memory and on their hosts' disks.

Knows nothing of batches. Workers are asked when they come and after one of their host has loaded a model; in between,
what comes back with receipts tells of their memory.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client

from workers.cache.host_name import ip_of
from workers.cache.revision_folder import COMPLETE_NAME
from workers.cache.zone import zone_of
from workers.model_host import loaded_keys

logger = logging.getLogger(__name__)
_LOOK_S = 2.0
_FIRST_LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What a worker holds.

    Parameters
    ----------
    zone : str
        Where the worker is.
    in_memory : frozenset of str
        Keys of its loaded renderers.
    on_disk : frozenset of str
        Revisions that are whole in its host's cache folder.
    """

    zone: str = ""
    in_memory: frozenset[str] = frozenset()
    on_disk: frozenset[str] = frozenset()


class Holdings:
    """What the workers hold, as far as is known; finding out more never holds anybody up.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    cache_folder : str
        The hosts' folder for copies of remote models.
    """

    def __init__(self, client: Client, cache_folder: str) -> None:
        self._client, self._cache_folder = client, cache_folder
        self._lock = threading.Lock()
        self._known: dict[str, Holding] | None = None
        self._stale: set[str] = set()
        self._looking: threading.Thread | None = None
        self._looked_at_s = -math.inf

    def known(self) -> dict[str, Holding]:
        """Return what each worker holds by address; one that has not answered yet holds nothing.

        Looks again in the background when the last time is two seconds ago. Only the first look is waited for.
        """
        self._look()
        with self._lock:
            return dict(self._known or {})

    def note(self, address: str, in_memory: Iterable[str]) -> None:
        """Note what a worker has in its memory now; if that has changed, its host's disk may have as well."""
        held = frozenset(in_memory)
        with self._lock:
            before = (self._known or {}).get(address)
            if self._known is not None and before is not None and before.in_memory != held:
                self._known[address] = replace(before, in_memory=held)
                self._stale |= {other for other in self._known if ip_of(other) == ip_of(address)}

    def doubt(self, address: str) -> None:
        """Have a worker asked again at the next look."""
        with self._lock:
            self._stale.add(address)

    def _look(self) -> None:
        with self._lock:
            now_s = time.monotonic()
            is_first = self._looking is None
            is_looking = self._looking is not None and self._looking.is_alive()
            if is_looking or self._client.status != "running" or now_s - self._looked_at_s < _LOOK_S:
                return
            self._looked_at_s = now_s
            self._looking = looking = threading.Thread(target=self._find_out, name="holdings", daemon=True)
            looking.start()
        if is_first:
            looking.join(_FIRST_LOOK_S)

    def _find_out(self) -> None:
        try:
            asked = self._meet(set(self._client.nthreads()))
            if asked:
                found = self._client.run(holding, self._cache_folder, workers=asked, on_error="ignore")
                self._enter(found)
        except Exception:  # the cluster is going away, or will be asked again: no batch waits for this
            logger.debug("the workers could not be asked what they hold", exc_info=True)

    def _meet(self, there: set[str]) -> list[str]:
        """Enter who has come and forget who has gone; return who is to be asked."""
        with self._lock:
            before = self._known
            self._known = {address: (before or {}).get(address, Holding()) for address in there}
            come = there - (before or {}).keys()
            self._stale = (self._stale | come) & there
            return sorted(self._stale)

    def _enter(self, found: dict[str, Holding]) -> None:
        with self._lock:
            known = self._known or {}
            known.update({address: held for address, held in found.items() if address in known})
            self._stale -= found.keys()


def holding(cache_folder: str, dask_worker: Any = None) -> Holding:
    """Return what this worker holds; called in its process.

    Parameters
    ----------
    cache_folder : str
        The host's folder for copies of remote models.
    dask_worker : distributed.Worker
        The worker; Dask fills it in.
    """
    folder = Path(cache_folder).expanduser()
    whole = frozenset(marker.parent.name for marker in folder.glob(f"*/{COMPLETE_NAME}"))
    return Holding(zone_of(dask_worker), frozenset(loaded_keys()), whole)

"""The links of a process to caches, for what runs on a worker and needs one.

Knows nothing of what a link does, only what may be asked of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.location import Location
from workers.cache.bring import Brought
from workers.cache.chunk_store import ChunkStore


class Link(Protocol):
    """What a worker's process may ask of its cache; `workers.cache.worker_part.CacheLink` says more."""

    @property
    def host(self) -> str:
        """Name of this host in the cache."""

    @property
    def store(self) -> ChunkStore:
        """The host's folder as this process sees it."""

    @property
    def is_keeper(self) -> bool:
        """Whether it is this process that fetches and serves for its host."""

    @property
    def serves_at(self) -> str:
        """Address and port at which it serves its host's chunks; "" where another process does, or none."""

    def bring(self, location: Location, manifest: ChunkManifest, single_file: bool = False) -> Brought:
        """Return the folder of a revision once it lies whole on this host."""

    def take_over(self, manifest: ChunkManifest, timeout_s: float) -> None:
        """Bring a revision to this host from its peers alone; only the keeper can."""


LINKS: list[Link] = []  # several where workers are threads of one process


def link_for(root: Path) -> Link | None:
    """Return this process's link for a cache folder, or None outside a cluster that shares it."""
    return next((link for link in reversed(LINKS) if link.store.root == root), None)


__all__ = ["LINKS", "Link", "link_for"]

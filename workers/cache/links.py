"""The links of a process to caches, for what runs on a worker and needs one.

Knows nothing of what a link does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.cache.worker_part import CacheLink

LINKS: list[CacheLink] = []  # several where workers are threads of one process


def link_for(root: Path) -> CacheLink | None:
    """Return this process's link for a cache folder, or None outside a cluster that shares it."""
    return next((link for link in reversed(LINKS) if link.store.root == root), None)


__all__ = ["LINKS", "link_for"]

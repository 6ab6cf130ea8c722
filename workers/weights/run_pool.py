"""The host's memory pool of weights, as a run has it.

Knows nothing of what is loaded from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pressrun.cache.options import CacheOptions
from workers.weights.host_pool import HostPool

MEMORY = Path("/dev/shm")


def run_pool(options: CacheOptions, memory: Path | None = None) -> HostPool | None:
    """Return the pool of this host, which all of this user's runs on it share; None where the run has none.

    Parameters
    ----------
    options : CacheOptions
        The run's.
    memory : Path or None
        Folder of a memory file system; None takes this host's.
    """
    root = _root(memory)
    if options.memory_bytes is None or not root.parent.is_dir():
        return None
    return HostPool(root, options.memory_bytes)


@contextmanager
def pool_in_use(options: CacheOptions, memory: Path | None = None) -> Iterator[None]:
    """Keep `empty_pool` from emptying this host's pool, in any process, for a run that has it."""
    pool = run_pool(options, memory)
    with nullcontext() if pool is None else pool.in_use():
        yield


def empty_pool(memory: Path | None = None) -> None:
    """Free this host's memory of a pool that no run uses any more, one that a killed run has left included."""
    root = _root(memory)
    if root.is_dir():
        HostPool(root, 0).empty()


def _root(memory: Path | None) -> Path:
    return (memory or MEMORY) / f"pressrun-weights-{os.getuid()}"


__all__ = ["empty_pool", "pool_in_use", "run_pool"]

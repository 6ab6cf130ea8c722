"""The host's memory pool of weights, as a run has it.

Knows nothing of what is loaded from it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pressrun.cache.options import CacheOptions
from workers.weights.host_pool import HostPool

_MEMORY = Path("/dev/shm")


def run_pool(options: CacheOptions, memory: Path = _MEMORY) -> HostPool | None:
    """Return the pool of this host, which all of this user's runs on it share; None where the run has none.

    Parameters
    ----------
    options : CacheOptions
        The run's.
    memory : Path
        Folder of a memory file system.
    """
    if options.memory_bytes is None or not memory.is_dir():
        return None
    return HostPool(memory / f"pressrun-weights-{os.getuid()}", options.memory_bytes)


def empty_pool(options: CacheOptions, memory: Path = _MEMORY) -> None:
    """Free this host's memory of what nobody uses any more; called when a run's own workers have ended."""
    pool = run_pool(options, memory)
    if pool is not None:
        pool.shrink_to(0)


__all__ = ["empty_pool", "run_pool"]

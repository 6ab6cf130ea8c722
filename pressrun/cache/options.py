"""How a run's models come to its hosts, and which workers its batches go to.

Knows nothing of hosts or workers, nor of how a model is brought.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pressrun.cache.folders import SHARED_FOLDER

CacheRuntime = Literal["peer", "mount", "none"]
AffinityMode = Literal["soft", "hard", "off"]
UNLIMITED_BYTES = sys.maxsize  # as a budget


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """The model cache as a run uses it.

    Parameters
    ----------
    runtime : CacheRuntime
        How a remote model comes to a host. "peer": hosts share what one of them has read; "mount": it is used in place
        in a folder that every host has mounted; "none": every host reads it for itself. Local models are used in place
        whatever this says.
    mounts : mapping of str to str
        For "mount": a URL, and the folder in which every host has what lies below it.
    affinity : AffinityMode
        Whether batches go to workers that hold their model: "soft" prefers them, "hard" waits for them for a while,
        "off" leaves it to Dask.
    budget_bytes : int or None
        Disk that models may take on a host from now on, for later runs too; `UNLIMITED_BYTES` sets no limit, and None
        leaves what the host's cache folder has.
    exclusive : bool
        Whether the job's tenant has a cache of its own: another folder on every host, which other tenants' hosts fill
        nothing from.
    memory_bytes : int or None
        Memory of a host in which weights are kept as they are on disk, so that a second worker, or a second loading,
        needs no disk. None keeps none: on a CPU the page cache does the same. Freed at the end of the run.
    folder : str
        The cache folder on every host, or, of an exclusive cache, the one beside which the tenant's own lies.
    """

    runtime: CacheRuntime = "peer"
    mounts: Mapping[str, str] = field(default_factory=dict)
    affinity: AffinityMode = "soft"
    budget_bytes: int | None = None
    exclusive: bool = False
    memory_bytes: int | None = None
    folder: str = SHARED_FOLDER

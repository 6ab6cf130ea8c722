"""The options of `pressrun generate` and `pressrun plan` for how models come to the hosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cache_place import host_path
from pressrun.cache.folders import SHARED_FOLDER
from pressrun.cache.mounts import read_mounts
from pressrun.cache.options import AffinityMode, CacheRuntime


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class CacheChoice:
    """How models come to the hosts.

    Parameters
    ----------
    cache : str
        How a remote model comes to a host: hosts share what one of them has read (peer), use it in place where --mount
        says (mount), or read it each for itself (none).
    mount : list of str
        A folder in which every host has what lies below a URL, as URL=FOLDER, for --cache mount; may be given several
        times.
    affinity : str
        Whether pictures go to workers that hold their model: these are preferred (soft), waited for a while (hard), or
        any is taken (off).
    cache_budget : str
        Disk that models may take on a host, as 200GB or 1.5TB: those used longest ago go first, and a model that is
        larger is refused. It holds for later runs too; "unlimited" lifts it.
    cache_exclusive : bool
        Give the tenant (--tenant) a cache of its own: another folder on every host, with a token of its own between
        them; otherwise all tenants share one.
    cache_memory : str
        Memory of each host in which weights are kept during the run, as 20GB, so that its other workers load without a
        disk; for workers with GPUs.
    cache_folder : Path
        Where the cache lies on every host, as /nvme/models; a tenant's own lies beside it. As `pressrun cache` has it
        with --folder.
    """

    cache: CacheRuntime = "peer"
    mount: Annotated[list[str], Parameter(negative="")] = field(default_factory=list)
    affinity: AffinityMode = "soft"
    cache_budget: str | None = None
    cache_exclusive: Annotated[bool, Parameter(negative="")] = False
    cache_memory: str | None = None
    cache_folder: Path = Path(SHARED_FOLDER)

    def parameters(self) -> dict[str, object]:
        """Return them as the flow's form has them.

        Raises
        ------
        InvalidJob
            When a mount is no pair of URL and folder.
        """
        return {
            "runtime": self.cache,
            "mounts": read_mounts(self.mount),
            "affinity": self.affinity,
            "budget": self.cache_budget,
            "exclusive": self.cache_exclusive,
            "memory": self.cache_memory,
            "folder": host_path(self.cache_folder),
        }


__all__ = ["CacheChoice"]

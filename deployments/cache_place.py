"""Which cache a command speaks of: its folder, and the tenant whose own it is. Knows nothing of what lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from pressrun.cache.folders import SHARED_FOLDER, tenants_own


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlace:
    """Which cache is meant.

    Parameters
    ----------
    folder : Path
        The cache folder, on each host, as runs have it with --cache-folder.
    tenant : str
        The tenant whose own cache is meant, which runs fill with --cache-exclusive; otherwise the one that all share.
    """

    folder: Path = Path(SHARED_FOLDER)
    tenant: str = ""

    @property
    def on_each_host(self) -> Path:
        """The folder as every host reads it: absolute, or from the host's own "~"."""
        folder = host_path(self.folder)
        return Path(tenants_own(folder, self.tenant) if self.tenant else folder)

    @property
    def here(self) -> Path:
        """The folder on this host."""
        return self.on_each_host.expanduser()


def host_path(folder: Path) -> str:
    """Return a folder that a command names as hosts read it: absolute, or from the "~" of each one's own."""
    return str(folder if folder.parts[:1] == ("~",) else folder.expanduser().absolute())


__all__ = ["CachePlace", "host_path"]

"""Where a remote model's files are in the filesystems that hosts have mounted.

Knows nothing of what serves a mount (Alluxio, JuiceFS, a CSI volume), nor whether anything is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from pressrun.cache.options import CacheOptions
from pressrun.errors import InvalidJob
from pressrun.location import Location


def mounted(location: Location, mounts: Mapping[str, str]) -> Path | None:
    """Return where a host has a location mounted, by the longest URL that it lies below; None when it has no mount.

    Parameters
    ----------
    location : Location
        A remote place.
    mounts : mapping of str to str
        Folders by URL.
    """
    url = _shown(location)
    found = [mount for mount in mounts if url == _shown(mount) or url.startswith(f"{_shown(mount)}/")]
    if not found:
        return None
    mount = max(found, key=lambda mount: len(_shown(mount)))
    return Path(mounts[mount], url[len(_shown(mount)) :].strip("/"))


def check_mounts(options: CacheOptions, places: Sequence[Location]) -> None:
    """Refuse mounts that no run can use.

    Parameters
    ----------
    options : CacheOptions
        The run's.
    places : sequence of Location
        Where its models, adapters and embedder are.

    Raises
    ------
    InvalidJob
        When mounts are given and not used, one is no absolute folder, or a remote place lies below none of them.
    """
    if options.runtime != "mount":
        if options.mounts:
            raise InvalidJob(
                f"{len(options.mounts)} mounts are given, but models come by the cache {options.runtime!r}; choose the "
                "cache 'mount', or leave the mounts out."
            )
        return
    for url, folder in options.mounts.items():
        if not PurePosixPath(folder).is_absolute():
            raise InvalidJob(f"The mount {_shown(url)}={folder} is no absolute folder; give it as /mnt/models.")
    for place in places:
        if not place.is_local and mounted(place, options.mounts) is None:
            known = ", ".join(map(_shown, options.mounts)) or "there are none"
            raise InvalidJob(
                f"{place} lies below none of the mounts ({known}); give the folder where every host has it as "
                "URL=FOLDER, or choose another cache than 'mount'."
            )


def read_mounts(pairs: Sequence[str]) -> dict[str, str]:
    """Return folders by URL, from URL=FOLDER each.

    Raises
    ------
    InvalidJob
        When one is no such pair, or a URL is given twice.
    """
    mounts: dict[str, str] = {}
    for pair in pairs:
        url, _, folder = pair.rpartition("=")
        if not url or not folder:
            raise InvalidJob(
                f"--mount {_shown(pair)} names no folder; write it as URL=FOLDER, s3://studio=/mnt/studio."
            )
        if url in mounts:
            raise InvalidJob(
                f"--mount {_shown(url)} is given twice ({mounts[url]} and {folder}); give one of the two folders."
            )
        mounts[url] = folder
    return mounts


def _shown(url: str | Location) -> str:
    """Return a URL as it is compared and shown: without credentials and without a slash at its end."""
    return str(Location(url) if isinstance(url, str) else url).rstrip("/")

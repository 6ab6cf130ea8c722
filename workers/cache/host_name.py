"""What a host is called in the cache, so that two machines or containers are never taken for one.

Knows nothing of who keeps its part. Machines may see one folder, as a home on NFS, and containers may have one network
address and folders of the same path.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

from pressrun.processes import place_digest


def host_name(address: str, root: Path) -> str:
    """Return the name that all worker processes of a machine or container with one cache folder share, and no others.

    Parameters
    ----------
    address : str
        Where its workers are reached, without a port.
    root : Path
        The cache folder; it must exist.
    """
    folder = root.stat()  # containers with process ids in common may have different folders at one path
    return f"{address}#{digest_of(f'{place_digest()} {folder.st_dev} {folder.st_ino}')}:{root}"


def ip_of(worker: str) -> str:
    """Return where a worker is reached, without scheme and port; this machine's own address where none is named."""
    return urlsplit(worker).hostname or "127.0.0.1"


def digest_of(text: str) -> str:
    """Return a short digest, fit for a file's name."""
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


__all__ = ["digest_of", "host_name", "ip_of"]

"""Where caches lie on hosts: the folder that tenants share, and beside it a tenant's own.

Knows nothing of what lies in them.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import quote

SHARED_FOLDER = "~/.cache/pressrun/models"
HOST_PATH = r"^(/|~(/|$))"


def tenants_own(folder: str, tenant: str) -> str:
    """Return the folder of a tenant's own cache, beside the one that tenants share."""
    return f"{read_folder(folder)}-{quote(tenant, safe='')}"


def read_folder(text: str) -> str:
    """Return a folder on every host, in one way of writing it; "~" is each host's own.

    Raises
    ------
    ValueError
        When it is relative, and so would mean another one to each process.
    """
    folder = PurePosixPath(text)
    if not folder.is_absolute() and folder.parts[:1] != ("~",):
        raise ValueError(f"{text!r} is no absolute folder; write it as /nvme/models or ~/models.")
    return str(folder)


__all__ = ["HOST_PATH", "SHARED_FOLDER", "read_folder", "tenants_own"]

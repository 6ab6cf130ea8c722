"""A place in a filesystem or bucket, with the options to reach it.

Knows nothing of what is stored there, nor how it is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import fsspec
from fsspec.core import url_to_fs


@dataclass(frozen=True, slots=True)
class Location:
    """An fsspec URL and the storage options that open it.

    Parameters
    ----------
    url : str
        Any fsspec URL ("s3://bucket/prefix", "memory://x") or a local path.
    options : mapping
        Keyword arguments for the filesystem, credentials among them; never shown.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def open_filesystem(self) -> tuple[fsspec.AbstractFileSystem, str]:
        """Return the filesystem and this location's path on it."""
        filesystem, path = url_to_fs(self.url, **self.options)
        return filesystem, path.rstrip("/")

    def child(self, name: str) -> Location:
        """Return the location `name` below this one."""
        return Location(f"{self.url.rstrip('/')}/{name}", self.options)

    def absolute(self) -> Location:
        """Return the location with a local path made absolute: processes elsewhere have other working folders."""
        if "://" in self.url:
            return self
        return Location(os.path.abspath(os.path.expanduser(self.url)), self.options)

    @property
    def is_local(self) -> bool:
        """Whether the location lies on this host's own filesystem."""
        return "://" not in self.url or self.url.startswith(("file://", "local://"))

    def __str__(self) -> str:
        """Return the URL without user names, passwords or query strings."""
        return "::".join(_shown(link) for link in self.url.split("::"))

    def __repr__(self) -> str:
        """Return a representation that holds no secret."""
        return f"Location({str(self)!r})"


def _shown(url: str) -> str:
    """Return one link of a chained URL without its secrets."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

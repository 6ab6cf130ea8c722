"""An origin read by its fsspec filesystem: the way for every URL that has no faster one.

Knows nothing of particular filesystems, nor of trying again.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from pressrun.location import Location
from pressrun.models.listing import ModelListing
from workers.cache.source import (
    SourceChanged,
    SourceDenied,
    SourceRefused,
    SourceUnreached,
    fill,
    is_denial,
    is_lasting,
)

# Definite answers, and mistakes in options or code, rather than failures that pass.
_LASTING = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    TypeError,
    LookupError,
    AttributeError,
    NameError,
    ImportError,
)
_SIZE_AND_TIME = "size:"
# What botocore raises before it asks anybody; by name, as the package need not be there.
_DENIED_NAMES = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")
# What botocore and aiohttp raise where no connection comes about.
_UNREACHED_NAMES = {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ConnectionTimeoutError"}
_LASTING_NAMES = (*_DENIED_NAMES, "ParamValidationError")


class FsspecSource:
    """Files below one location, read by fsspec.

    Parameters
    ----------
    location : Location
        The model's folder.
    """

    def __init__(self, location: Location) -> None:
        # A remembered listing would hide that a file was overwritten.
        options = dict(location.options) | {"use_listings_cache": False}
        self._location = location
        self.filesystem, self.root = Location(location.url, options).open_filesystem()

    def read_once(self, path: str, start: int, digest: str, into: memoryview) -> None:
        """Fill `into` with a file's bytes; see `workers.cache.source.ByteSource`."""
        try:
            self._read(path, start, digest, into)
        except SourceChanged:
            raise
        except Exception as error:
            if _lasts(error):
                raise (SourceDenied if _denies(error) else SourceRefused)(type(error).__name__) from None
            if isinstance(error, ConnectionRefusedError) or _UNREACHED_NAMES & _class_names(error):
                raise SourceUnreached(type(error).__name__) from None
            raise

    def _read(self, path: str, start: int, digest: str, into: memoryview) -> None:
        try:
            data = self.filesystem.cat_file(f"{self.root}/{path}", start=start, end=start + len(into))
        except OSError as error:
            if error.errno == errno.EINVAL:  # S3 on a range that begins after the end
                self.check_unchanged(path, digest)
            raise
        self.check_unchanged(path, digest)
        fill(into, data)

    def check_unchanged(self, path: str, digest: str) -> None:
        """Look at a file again; SourceChanged when its listing is another one.

        Contents of local files are not hashed again, and a filesystem that tells another kind of digest of one file
        than of a folder's files says nothing.
        """
        if self._location.is_local or not digest:
            return
        full = f"{self.root}/{path}"
        now = self._digest(path, self.filesystem.info(full))
        if now != digest and now.startswith(_SIZE_AND_TIME):
            # Some write a time in one way for a file and in another for a folder's files, which is what was listed.
            entries = self.filesystem.ls(full.rpartition("/")[0], detail=True)
            now = next((self._digest(path, entry) for entry in entries if entry["name"] == full), digest)
        if _kind(now) == _kind(digest) and now != digest:
            raise SourceChanged

    def _digest(self, path: str, info: Mapping[str, Any]) -> str:
        return ModelListing(self._location, self.filesystem, self.root, {path: info}).digest(path)


def _lasts(error: Exception) -> bool:
    status = getattr(error, "status", None)
    return (
        isinstance(error, _LASTING)
        or type(error).__name__ in _LASTING_NAMES
        or (isinstance(status, int) and is_lasting(status))
    )


def _denies(error: Exception) -> bool:
    """Return whether an error that lasts is about who asks."""
    status = getattr(error, "status", None)
    return (
        isinstance(error, PermissionError)
        or type(error).__name__ in _DENIED_NAMES
        or (isinstance(status, int) and is_denial(status))
    )


def _class_names(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _kind(digest: str) -> str:
    return digest.partition(":")[0]


__all__ = ["FsspecSource"]

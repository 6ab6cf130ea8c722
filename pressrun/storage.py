"""Whole-object reads and all-or-nothing writes below one location.

Knows nothing of what the objects mean. A reader never sees half an object: local writes go to a temporary name
and are renamed, remote ones are single PUTs, or multipart uploads that are seen when they are complete.
"""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import IO, Any, TypeVar

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pressrun.errors import InvalidCollection, PressrunError
from pressrun.location import Location

TEMPORARY = ".tmp"
_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.2
# Definite answers, not passing failures.
_ANSWERS = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError)
# Mistakes in the code or the options that no store answers with.
_MISTAKES = (TypeError, ValueError, LookupError, AttributeError, NameError, ImportError, AssertionError)
# What botocore raises before it asks anybody; by name, as the package need not be there.
_LASTING = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ParamValidationError")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"']+", re.IGNORECASE)
_Result = TypeVar("_Result")


class Store:
    """Named objects below one location, local or remote.

    Parameters
    ----------
    location : Location
        The folder or bucket prefix that names are relative to.
    """

    def __init__(self, location: Location) -> None:
        self.location = location

    @cached_property
    def _opened(self) -> tuple[AbstractFileSystem, str]:
        # A remembered listing would hide what other processes write meanwhile: claims, receipts.
        options = dict(self.location.options) | {"use_listings_cache": False}
        return Location(self.location.url, options).open_filesystem()

    @property
    def filesystem(self) -> AbstractFileSystem:
        """The fsspec filesystem behind the store."""
        return self._opened[0]

    @property
    def root(self) -> str:
        """The store's path on `filesystem`."""
        return self._opened[1]

    @property
    def is_local(self) -> bool:
        """Whether objects are files of this host."""
        return isinstance(self.filesystem, LocalFileSystem)

    def path(self, name: str) -> str:
        """Return the path of an object on `filesystem`."""
        return f"{self.root}/{name}"

    def read(self, name: str) -> bytes:
        """Return an object's bytes; FileNotFoundError when there is none."""
        data: bytes = _retried(lambda: self.filesystem.cat_file(self.path(name)))
        return data

    def read_range(self, name: str, start_byte: int, size_bytes: int) -> bytes:
        """Return some of an object's bytes, fewer where it ends before; FileNotFoundError when there is none."""
        span = {"start": start_byte, "end": start_byte + size_bytes}

        def read() -> bytes:
            try:
                data: bytes = self.filesystem.cat_file(self.path(name), **span)
            except OSError as error:
                if error.errno == errno.EINVAL:  # S3 on a range that begins after the end; a file just gives nothing
                    return b""
                raise
            return data

        return _retried(read)

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """Give an object too large for memory as a file; FileNotFoundError when there is none."""
        with self.filesystem.open(self.path(name), "rb") as file:
            yield file

    def read_record(self, name: str) -> dict[str, Any]:
        """Return an object's JSON fields; none for anything else than a JSON object."""
        data = self.read(name)
        try:
            record = json.loads(data)
        except ValueError:
            return {}
        return record if isinstance(record, dict) else {}

    def write(self, name: str, data: bytes) -> None:
        """Create or replace an object; readers see the old bytes or the new ones, nothing between."""
        if not self.is_local:
            _retried(lambda: self.filesystem.pipe_file(self.path(name), data))
            return
        self._rename_into_place(name, data, os.replace)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object only if the name is free, and return whether it was.

        After a lost answer from a remote store the answer can be False for the caller's own object.
        """
        if not self.is_local:
            return self._create_remote(name, data)
        try:
            self._rename_into_place(name, data, os.link)
        except FileExistsError:
            return False
        return True

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Give a file that becomes the object when the block ends; after an error nothing is seen of it.

        For objects too large for memory. Until it is sent, a remote store's object is a temporary file of this host.
        """
        if self.is_local:
            with self._placing(name, os.replace) as file:
                yield file
            return
        with tempfile.NamedTemporaryFile() as file:
            yield file
            file.flush()
            _retried(lambda: self.filesystem.put_file(file.name, self.path(name)))

    def exists(self, name: str) -> bool:
        """Return whether the object is there now."""
        self.filesystem.invalidate_cache(self.path(name.rpartition("/")[0]))
        return bool(_retried(lambda: self.filesystem.exists(self.path(name))))

    def names(self, folder: str, ending: str = "") -> list[str]:
        """Return the names of the objects directly in `folder`, sorted; empty when there is no such folder."""
        return [name for name in self._entries(folder, "file") if name.endswith(ending)]

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly in `folder`, sorted; empty when there is no such folder."""
        return self._entries(folder, "directory")

    def walk(self, folder: str) -> Iterable[tuple[str, int]]:
        """Yield (name, size in bytes) of every object at any depth below `folder`."""
        self.filesystem.invalidate_cache()
        found = _retried(lambda: self.filesystem.find(self.path(folder), detail=True))
        for path, entry in found.items():
            if name := self._name(path):  # some stores mark a folder by an object of its own name
                yield name, int(entry["size"])

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; names that are gone already are not an error."""
        for name in names:
            try:
                _retried(partial(self.filesystem.rm_file, self.path(name)))
            except FileNotFoundError:
                continue

    def sweep(self) -> None:
        """Remove what killed writers left under temporary names; only the single writer of a store may call this."""
        self.delete([name for name, _ in self.walk(TEMPORARY)])
        if self.is_local:
            with suppress(OSError):  # never made, or in use again already
                os.rmdir(self.path(TEMPORARY))

    def _entries(self, folder: str, kind: str) -> list[str]:
        path = self.path(folder)
        self.filesystem.invalidate_cache(path)
        try:
            entries = _retried(lambda: self.filesystem.ls(path, detail=True))
        except FileNotFoundError:
            return []
        names = (self._name(entry["name"]) for entry in entries if entry["type"] == kind)
        return sorted(name for name in names if name)

    def _name(self, path: str) -> str:
        return path[len(self.root) + 1 :]

    def _rename_into_place(self, name: str, data: bytes, place: Callable[[str, str], None]) -> None:
        with self._placing(name, place) as file:
            file.write(data)

    @contextmanager
    def _placing(self, name: str, place: Callable[[str, str], None]) -> Iterator[IO[bytes]]:
        temporary, target = self.path(f"{TEMPORARY}/{uuid.uuid4().hex}"), self.path(name)
        try:
            with _in_folder_of(temporary, lambda: open(temporary, "wb")) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _in_folder_of(target, lambda: place(temporary, target))
        finally:
            with suppress(FileNotFoundError):  # gone after a replace, still there after a link or an error
                os.unlink(temporary)

    def _create_remote(self, name: str, data: bytes) -> bool:
        try:
            _retried(lambda: self.filesystem.pipe_file(self.path(name), data, mode="create"))
        except FileExistsError:
            return False
        return True


def _in_folder_of(path: str, act: Callable[[], _Result]) -> _Result:
    """Return what `act` returns, having made the folder of `path` if it was missing: it is there nearly always."""
    try:
        return act()
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return act()


def reached(store: Store, look: Callable[[], _Result]) -> _Result:
    """Return the answer of a first look at a store, or say why it cannot be used.

    Raises
    ------
    InvalidCollection
        When the location cannot be opened, reached or used with these options.
    """
    try:
        return look()
    except PressrunError:
        raise
    except NotADirectoryError:
        raise InvalidCollection(
            f"{store.location} is a file or lies below one; give a folder or a bucket prefix."
        ) from None
    except Exception as error:  # opening runs code of any filesystem package; the chain may hold credentials
        raise InvalidCollection(
            f"{store.location} cannot be used ({_explained(error)}). Check the URL, that the bucket or folder is there "
            "and open to you, the endpoint and credentials in the options, and that the filesystem's package is "
            "installed."
        ) from None


def _retried(call: Callable[[], _Result]) -> _Result:
    """Call a network operation again after a passing failure, with doubling pauses; all failures are OSErrors."""
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except (*_ANSWERS, *_MISTAKES):
            raise
        except Exception as error:
            if attempt == _ATTEMPTS - 1 or type(error).__name__ in _LASTING:
                if isinstance(error, OSError):
                    raise
                raise OSError(_explained(error)) from None  # the chain would show the URL
            time.sleep(_FIRST_PAUSE_S * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _explained(error: Exception) -> str:
    """Return an error's kind and text without URLs, which may hold secrets."""
    text = " ".join(_URL.sub("(URL left out)", str(error)).split())
    return text if type(error) is OSError else f"{type(error).__name__}: {text}"

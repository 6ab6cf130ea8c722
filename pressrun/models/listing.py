"""The files below a model's location: names, sizes, bytes and digests, on any filesystem.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import xxhash

from pressrun.errors import InvalidModel
from pressrun.location import Location

_INFO_THREADS = 8
HASH_BLOCK_BYTES = 8 * 1024 * 1024
PUBLISHED_NAME = "pressrun-chunks.json"  # hashes of the model, by Pressrun itself; no part of it
# What object stores call a file's checksum or version, best first.
_CHECKSUM_KEYS = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "VersionId", "generation")
_NO_VERSION = "null"
_TIME_KEYS = ("LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ModelListing:
    """Every file below a location, by its path relative to it.

    Parameters
    ----------
    location : Location
        Where the model lies.
    filesystem : fsspec.AbstractFileSystem
        The opened filesystem.
    root : str
        The location's path on the filesystem.
    infos : mapping
        Relative POSIX path to what the filesystem tells of the file. Hidden files and folders are left out, and what
        Pressrun publishes beside a model: its revision must not change by that.
    """

    location: Location
    filesystem: fsspec.AbstractFileSystem = field(repr=False)
    root: str
    infos: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def size_bytes(self, path: str) -> int:
        """Return a file's size; InvalidModel where nobody tells it."""
        told = self.infos[path].get("size")
        if told is None:
            raise InvalidModel(
                f"The size of {path} of {self.location} is not told by its server, and nothing can be planned or "
                "checked without. Have it answer with Content-Length and serve ranges, or copy the files to a bucket "
                "or folder."
            )
        return int(told)

    def folder(self, name: str) -> list[str]:
        """Return the names of the files that stand directly in a folder."""
        prefix = f"{name}/"
        return sorted(p[len(prefix) :] for p in self.infos if p.startswith(prefix) and "/" not in p[len(prefix) :])

    def read(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return a file's bytes, or those from `start` up to `end`."""
        full = self.full_path(path)
        data: bytes = _reached(self.location, lambda: self.filesystem.cat_file(full, start=start, end=end))
        if start is not None and end is not None and len(data) > end - start:
            raise InvalidModel(
                f"The server sends {len(data)} bytes of {path} of {self.location} where {end - start} were asked for. "
                "Use one that serves ranges, or copy the files to a bucket or folder."
            )
        return data

    def digest(self, path: str) -> str:
        """Return what names a file's contents.

        Returns
        -------
        str
            A hash of the bytes for local files, so that a copy elsewhere has the same; else the store's checksum or
            version, or size and time where the store tells neither.
        """
        if self.location.is_local:
            return _reached(self.location, lambda: self._content_hash(path))
        info = self.infos[path]
        for key in _CHECKSUM_KEYS:
            told = str(info.get(key) or "").strip('"')
            if told.strip("0-") and told != _NO_VERSION:  # what some gateways say of every file
                return f"{key.lower()}:{told}"
        times = (str(info[key]) for key in _TIME_KEYS if info.get(key))
        return f"size:{info.get('size')},time:{next(times, '')}"

    def full_path(self, path: str) -> str:
        """Return a file's path on the filesystem."""
        return f"{self.root}/{path}"

    def _content_hash(self, path: str) -> str:
        hasher = xxhash.xxh3_128()
        with self.filesystem.open(self.full_path(path), "rb") as file:
            while block := file.read(HASH_BLOCK_BYTES):
                hasher.update(block)
        return f"xxh3:{hasher.hexdigest()}"


def list_model(location: Location, single_file: bool = False) -> ModelListing:
    """List the files below a model's location.

    Parameters
    ----------
    location : Location
        The folder or bucket prefix.
    single_file : bool
        Whether the location may also be a file itself, which is then the only one listed.

    Returns
    -------
    ModelListing
        Holds at least one file.

    Raises
    ------
    InvalidModel
        If the location cannot be reached, is a single file, or holds nothing.
    """
    filesystem, root = _reached(location, location.open_filesystem)
    _reached(location, filesystem.invalidate_cache)
    found = _reached(location, lambda: _find(location, filesystem, root))
    prefix = f"{root}/"
    infos = {path[len(prefix) :]: info for path, info in found.items() if path.startswith(prefix)}
    if root in found and not infos:
        if single_file:
            return _only_file(location, filesystem, root, found[root])
        raise InvalidModel(
            f"The model {location} is a single file, but a folder in the diffusers layout (with model_index.json) is "
            "wanted. Convert a single-file checkpoint with the pipeline's from_single_file and save_pretrained."
        )
    if not infos:
        raise InvalidModel(_no_adapter_there(location) if single_file else _nothing_there(location))
    shown = {path: info for path, info in infos.items() if not _is_hidden(path)}
    return ModelListing(location, filesystem, root, _with_sizes(filesystem, root, shown))


def _with_sizes(
    filesystem: fsspec.AbstractFileSystem, root: str, infos: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Mapping[str, Any]]:
    """Ask for files one by one where the listing tells names alone, as a web server's does."""

    def ask(path: str) -> Mapping[str, Any]:
        # A listing links to things that are no files; who needs a size that is lacking is told so.
        with suppress(Exception):
            told: Mapping[str, Any] = filesystem.info(f"{root}/{path}")
            return told
        return infos[path]

    lacking = [path for path, info in infos.items() if info.get("size") is None]
    with ThreadPoolExecutor(_INFO_THREADS) as threads:
        return {**infos, **dict(zip(lacking, threads.map(ask, lacking), strict=True))}


def _only_file(
    location: Location, filesystem: fsspec.AbstractFileSystem, path: str, info: Mapping[str, Any]
) -> ModelListing:
    root, _, name = path.rpartition("/")
    above = location.url.removesuffix(name)
    folder = Location(above if above.endswith("://") else above.rstrip("/"), location.options)
    # Not every filesystem tells more than the name of a file that is looked for as if it were a folder.
    return ModelListing(folder, filesystem, root, {name: info or _reached(location, lambda: filesystem.info(path))})


def _find(location: Location, filesystem: fsspec.AbstractFileSystem, root: str) -> Mapping[str, Mapping[str, Any]]:
    if not location.is_local:
        found: Mapping[str, Mapping[str, Any]] = filesystem.find(root, detail=True)
        return found
    # fsspec does not enter linked folders, and component folders shared between models are often links.
    folder = Path(root)
    paths = [folder, *folder.glob("*"), *folder.glob("*/*")]
    return {path.as_posix(): {"size": path.stat().st_size} for path in paths if path.is_file()}


def _is_hidden(path: str) -> bool:
    parts = path.split("/")
    return any(part.startswith(".") for part in parts) or f".{parts[-1]}".endswith(f".{PUBLISHED_NAME}")


def _nothing_there(location: Location) -> str:
    if location.is_local and re.fullmatch(r"[\w.-]+/[\w.-]+", location.url):
        return (
            f"There is no model folder {location}. If this is a hub id: models are not downloaded from a hub; copy the "
            "model to a folder or bucket and give its path or URL."
        )
    return (
        f"No model files found at {location}. Give the folder or bucket prefix that holds model_index.json and check "
        "its spelling."
    )


def _no_adapter_there(location: Location) -> str:
    return f"Nothing found at {location}. Give a safetensors file or the folder that holds one and check its spelling."


def _reached(location: Location, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except FileNotFoundError:
        raise InvalidModel(_nothing_there(location)) from None
    except InvalidModel:
        raise
    except Exception as error:
        # Only the class name: the text and the chain may hold credentials or a signed URL.
        raise InvalidModel(
            f"The model {location} cannot be read ({type(error).__name__}). Check the URL, the endpoint, the "
            "credentials in its options, and that the filesystem's package is installed."
        ) from None


__all__ = ["PUBLISHED_NAME", "ModelListing", "list_model"]

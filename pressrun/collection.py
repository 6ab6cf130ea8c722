"""A collection: the identity written once, and whether a location may hold one.

Knows nothing of images, manifests or indexes (`pressrun.layout` names them), nor of who may write.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pressrun import layout
from pressrun.errors import InvalidCollection
from pressrun.layout import LayoutName
from pressrun.storage import TEMPORARY, Store, reached

FORMAT_VERSION = 1
# S3, GCS and Azure answer with the same error for an object that is not there; only the text tells.
_NO_BUCKET = re.compile(r"(bucket|container) does not exist", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Identity:
    """What every object of a collection agrees on.

    Parameters
    ----------
    embedder : str
        Revision digest of the model that embeds pictures; "" for a collection without embeddings.
    embedding_size : int
        Length of an embedding; 0 without embeddings.
    image_ending : str
        Of the pictures' file names: "png", "webp" or "jpg".
    tenant : str
        Whose pictures these are; "" for nobody's in particular. Bounds what other collections take over.
    layout : str
        How pictures stand: an object each ("files"), or in tars ("webdataset").
    format_version : int
        Version of the layout.
    """

    embedder: str
    embedding_size: int
    image_ending: str = "png"
    tenant: str = ""
    layout: LayoutName = "files"
    format_version: int = FORMAT_VERSION


_IDENTITY_FIELDS = {field.name for field in fields(Identity)}
_LATER_FIELDS = {"tenant", "layout"}  # that older collections of this format lack


def read_identity(store: Store) -> Identity:
    """Return what a collection says of itself.

    Raises
    ------
    InvalidCollection
        When the location cannot be reached, holds no collection, or one of another format.
    """
    found = find_identity(store)
    if found is None:
        raise InvalidCollection(f"{store.location} holds no collection (no {layout.COLLECTION}).")
    return found


def find_identity(store: Store) -> Identity | None:
    """Return what a collection says of itself, or None where there is no collection.

    Raises
    ------
    InvalidCollection
        When the location cannot be reached, or holds a collection of another format.
    """
    record = _read_record(store)
    return None if record is None else _identity(store, record)


def _identity(store: Store, record: dict[str, Any]) -> Identity:
    if record.get("format_version") != FORMAT_VERSION or record.keys() | _LATER_FIELDS != _IDENTITY_FIELDS:
        raise InvalidCollection(
            f"{store.location} has format version {record.get('format_version')}, this Pressrun reads version "
            f"{FORMAT_VERSION}; use the Pressrun that wrote it or generate into a new location."
        )
    return Identity(**record)


def check_location(store: Store) -> None:
    """Refuse a location that holds other things than a collection this version reads, or cannot hold one.

    Raises
    ------
    InvalidCollection
        Naming what stands there, or why the location cannot be reached.
    """
    record = _read_record(store)
    if record is not None:
        _identity(store, record)
        return
    _check_writable(store)
    entries = reached(store, lambda: [*store.names(""), *store.folders("")])
    strangers = [name for name in entries if name not in (layout.WRITER, TEMPORARY)]
    if strangers:
        raise InvalidCollection(
            f"{store.location} is not empty and not a collection (it holds {strangers[0]!r}, "
            f"{len(strangers)} files and folders in all); choose a new or empty location."
        )


def _check_writable(store: Store) -> None:
    """Refuse a local folder that this user could not make or write to; of a bucket only writing tells."""
    if not store.is_local:
        return
    folder = Path(store.root)
    standing = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(standing, os.W_OK):
        raise InvalidCollection(f"{store.location} cannot be written to: {standing} is read-only for this user.")


def join_collection(store: Store, wanted: Identity) -> Identity:
    """Create the collection, or check that the job fits the one that is there.

    Raises
    ------
    InvalidCollection
        When the collection has pictures of another format or another layout, belongs to another tenant, or was embedded
        by another model than the job's.
    """
    check_location(store)
    if store.create(layout.COLLECTION, json.dumps(asdict(wanted), indent=2).encode()):
        return wanted
    return _same(store, read_identity(store), wanted)


def check_fits(store: Store, wanted: Identity) -> None:
    """Refuse a job that the collection, if it is there already, could not be continued with; nothing is written.

    Raises
    ------
    InvalidCollection
        When the collection has pictures of another format or another layout, belongs to another tenant, or was embedded
        by another model than the job's.
    """
    found = find_identity(store)
    if found is not None:
        _same(store, found, wanted)


def _same(store: Store, found: Identity, wanted: Identity) -> Identity:
    if found.image_ending != wanted.image_ending:
        raise InvalidCollection(
            f"{store.location} holds .{found.image_ending} pictures, the job would write .{wanted.image_ending}; "
            "use the same image format or generate into a new location."
        )
    if found.tenant != wanted.tenant:
        raise InvalidCollection(
            f"{store.location} belongs to the tenant {found.tenant or 'none'}, the job to {wanted.tenant or 'none'}; "
            "give the collection's own tenant with --tenant, or generate into a new location."
        )
    if found.layout != wanted.layout:
        raise InvalidCollection(
            f"{store.location} has the layout {found.layout}, the job asks for {wanted.layout}; use the same layout or "
            "generate into a new location (--reuse-from copies what is here into it)."
        )
    if found != wanted:
        raise InvalidCollection(
            f"{store.location} was made with embedder {found.embedder[:12] or 'none'} ({found.embedding_size} values), "
            f"the job's is {wanted.embedder[:12] or 'none'} ({wanted.embedding_size} values); "
            "use the same embedder or generate into a new location."
        )
    return found


def _read_record(store: Store) -> dict[str, Any] | None:
    """Return what stands in the collection's own file, or None when there is none."""
    return reached(store, lambda: _record_or_none(store))


def _record_or_none(store: Store) -> dict[str, Any] | None:
    try:
        return store.read_record(layout.COLLECTION)
    except FileNotFoundError as error:
        if _NO_BUCKET.search(str(error)):
            raise
        return None

"""Where an export goes: refused when it holds anything else, written by one at a time, marked complete at the end.

Knows nothing of formats. Files appear whole and stay, so whatever is there needs no second writing.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from pressrun import layout
from pressrun.errors import InvalidExport
from pressrun.export.options import ExportOptions
from pressrun.export.selection import Selection
from pressrun.progress import News, tell
from pressrun.storage import TEMPORARY, Store, reached
from pressrun.writer_claim import WriterClaim

# Hidden, since readers of all three formats take any other file for data.
MARKER = ".pressrun-export.json"


class Destination:
    """The files of one export.

    Parameters
    ----------
    store : Store
        Where they are.
    images : int
        Images of the export, for progress.
    """

    def __init__(self, store: Store, images: int) -> None:
        self.store = store
        self.files_written = 0
        self.files_held = 0
        self._lock = threading.Lock()
        self._images = images
        self._done = 0
        self._folder: str | None = None
        self._names: frozenset[str] = frozenset()

    def holds(self, name: str) -> bool:
        """Return whether a file is there already; quick when names come folder by folder."""
        folder = name.rpartition("/")[0]
        if folder != self._folder:
            self._folder, self._names = folder, frozenset(self.store.names(folder))
        is_held = name in self._names
        self.files_held += is_held
        return is_held

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Give a file to write to, which appears whole under its name when the block ends."""
        with self.store.writing(name) as file:
            yield file
        self._count()

    def write(self, name: str, data: bytes) -> None:
        """Write a small file; safe to call from several threads."""
        self.store.write(name, data)
        self._count()

    def advance(self, images: int = 1) -> None:
        """Tell that images are done."""
        self._done += images
        tell(News("export", done=self._done, total=self._images))

    def _count(self) -> None:
        with self._lock:
            self.files_written += 1


def check_destination(store: Store, source: Store) -> None:
    """Refuse a destination that holds other things than an export, or that lies in the collection itself.

    Raises
    ------
    InvalidExport
        Naming what stands there.
    InvalidCollection
        When the location cannot be reached.
    """
    entries = reached(store, lambda: [*store.names(""), *store.folders("")])
    if store.filesystem == source.filesystem and f"{store.root}/".startswith(f"{source.root}/"):
        raise InvalidExport(f"{store.location} lies in the collection {source.location}; choose a place outside it.")
    strangers = [name for name in entries if name not in (layout.WRITER, TEMPORARY)]
    if strangers and MARKER not in strangers:
        raise InvalidExport(
            f"{store.location} is not empty and not an export (it holds {strangers[0]!r}, {len(strangers)} files and "
            "folders in all); choose a new or empty location."
        )


@contextmanager
def opened(store: Store, selection: Selection, options: ExportOptions) -> Iterator[Destination]:
    """Give a checked destination, claimed and marked as begun; mark it as complete when the block ends well.

    Raises
    ------
    CollectionBusy
        When another export is writing to it.
    InvalidExport
        When an export of other rows or with other options was begun there.
    """
    _check_marker(store, selection, options)
    claim = WriterClaim(store, f"export-{uuid.uuid4().hex[:12]}")
    claim.acquire()
    try:
        marker = {"digest": selection.digest, "format": options.format.value, "images": selection.images}
        if not store.create(MARKER, _marker(marker, is_complete=False)):
            _check_marker(store, selection, options)
        yield Destination(store, selection.images)
        store.write(MARKER, _marker(marker, is_complete=True))
        if not claim.is_lost:  # whoever has it now writes the same bytes, but its temporary files are its own
            store.sweep()
    finally:
        claim.release()


def _check_marker(store: Store, selection: Selection, options: ExportOptions) -> None:
    try:
        marker = store.read_record(MARKER)
    except FileNotFoundError:
        return
    if marker.get("digest") != selection.digest:
        state = "a complete" if marker.get("complete") else "an unfinished"
        raise InvalidExport(
            f"{store.location} holds {state} {marker.get('format')} export of {marker.get('images')} images, and this "
            f"one is a {options.format.value} export of {selection.images} images, of other rows or with other "
            "options; choose a new location, or remove what is there."
        )


def _marker(facts: dict[str, Any], is_complete: bool) -> bytes:
    return json.dumps(facts | {"complete": is_complete}, indent=1).encode()

"""An origin read by obstore, one range a request, in the caller's thread without the interpreter lock.

Knows nothing of trying again, nor of how stores are made from options.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from fsspec.utils import tokenize
from obstore.exceptions import PreconditionError

from pressrun.location import Location
from workers.cache.cloud_stores import azure_store, google_store, web_store
from workers.cache.fsspec_source import FsspecSource
from workers.cache.s3_store import s3_store
from workers.cache.source import SourceChanged, SourceDenied, SourceRefused, SourceUnreached, fill
from workers.cache.store_answers import RANGE_NOT_THERE, denies, is_unreached, kind_of, lasts, status_of

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ObjectStore

logger = logging.getLogger(__name__)

_ETAG = "etag:"
_WEAK = "W/"
_STORES = 16
_stores: dict[Hashable, ObjectStore] = {}  # by bucket and options, the latest used last; they hold credentials
_stores_lock = threading.Lock()


class ObstoreSource:
    """Files below one location, read by obstore.

    Parameters
    ----------
    store : ObjectStore
        The bucket.
    root : str
        The location's path in it, "" for the bucket itself.
    sends_match : bool
        Whether the listing's ETag is the one that the store answers with, so that it can be asked for.
    check_unchanged : callable
        Called with path and digest after a read whose answer does not tell whether the file is the listed one.
    """

    def __init__(
        self, store: ObjectStore, root: str, sends_match: bool, check_unchanged: Callable[[str, str], None]
    ) -> None:
        self._store, self._root, self._sends_match = store, root, sends_match
        self._check_unchanged = check_unchanged

    def read_once(self, path: str, start: int, digest: str, into: memoryview) -> None:
        """Fill `into` with a file's bytes; see `workers.cache.source.ByteSource`."""
        etag = digest.removeprefix(_ETAG) if self._sends_match and digest.startswith(_ETAG) else ""
        try:
            self._read(f"{self._root}/{path}".lstrip("/"), start, etag, into)
        except PreconditionError:
            raise SourceChanged from None
        except Exception as error:
            if status_of(error) == RANGE_NOT_THERE:  # the file is shorter than it was listed
                raise SourceChanged from None
            if lasts(error):
                raise (SourceDenied if denies(error) else SourceRefused)(kind_of(error)) from None
            if is_unreached(error):
                raise SourceUnreached(kind_of(error)) from None
            raise
        if not etag:
            self._check_unchanged(path, digest)

    def _read(self, key: str, start: int, etag: str, into: memoryview) -> None:
        options: GetOptions = {"range": (start, start + len(into))}
        if etag and not etag.startswith(_WEAK):
            options["if_match"] = f'"{etag}"'
        answer = obstore.get(self._store, key, options=options)
        told = answer.meta["e_tag"]
        # Not every server heeds the condition.
        if etag and told is not None and told.replace('"', "") != etag.replace('"', ""):
            raise SourceChanged
        fill(into, memoryview(answer.bytes()))


def open_obstore(location: Location, plain: FsspecSource) -> ObstoreSource | None:
    """Open a location by obstore.

    Parameters
    ----------
    location : Location
        The model's folder.
    plain : FsspecSource
        The same by fsspec.

    Returns
    -------
    ObstoreSource or None
        None for URLs that obstore does not know and options that cannot be translated.
    """
    scheme = urlsplit(location.url).scheme
    opening = _OPENING.get(scheme)
    if opening is None:
        return None
    bucket, _, root = (plain.root, "", "") if scheme in _WEB else plain.root.partition("/")
    if "::" in location.url or "?" in location.url or not bucket or "//" in root:
        logger.info("%s is read by fsspec, which is slower, because of its URL's form.", location)
        return None
    key = (scheme, bucket, tokenize(location.options))
    with _stores_lock:
        store = _stores.pop(key, None) or opening(plain.filesystem, bucket, location.options)
        if store is None:
            return None
        _stores[key] = store
        for unused in list(_stores)[:-_STORES]:
            del _stores[unused]
    sends_match = scheme in _WITH_LISTED_ETAG and not location.options.get("local_expiry_check")
    return ObstoreSource(store, root, sends_match, plain.check_unchanged)


_WEB = ("http", "https")
# The others list other ETags than they answer with, or are not known to list the same.
_WITH_LISTED_ETAG = ("s3", "s3a", *_WEB)
_OPENING: dict[str, Callable[[Any, str, Any], Any]] = {
    **dict.fromkeys(("s3", "s3a"), s3_store),
    **dict.fromkeys(("gs", "gcs"), google_store),
    "az": lambda _, container, options: azure_store(container, options),
    **dict.fromkeys(_WEB, lambda _, root, options: web_store(root, options)),
}

__all__ = ["ObstoreSource", "open_obstore"]

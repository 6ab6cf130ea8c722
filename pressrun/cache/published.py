"""The hashes of a model's chunks that were published beside it, used as far as they are still true.

Knows nothing of how hashes are taken (`pressrun.cache.publishing`) or of who reads chunks.

Chunks are named by their hashes, and a host that holds a name has no reason to ask for its bytes again. So a hash is
taken only for a file that the listing says is the one that was hashed: equal in size, and in digest or in one of the
names that stores would give the same bytes. Anything less, such as the hashes of a base model that were copied beside
its fine-tune, would let a host use the wrong file. Hashes that are not taken cost nothing but the check of the first
reading, which is why old ones are told of and passed over, and nothing fails.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pressrun.cache.chunk_manifest import ChunkedFile, ChunkManifest, cut, manifest_of_json
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter
from pressrun.models.any_folder import AnyFacts
from pressrun.models.listing import PUBLISHED_NAME, list_model
from pressrun.storage import Store

_NAMES = "also_called"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedPlace:
    """Where a model's hashes are published.

    Parameters
    ----------
    store : Store
        The model's folder.
    name : str
        The file in it: `pressrun-chunks.json`, or for an adapter's file among others one with that file's name before.
    """

    store: Store
    name: str

    def __str__(self) -> str:
        """Return the file's address without secrets."""
        return str(self.store.location.child(self.name))


def published_place(location: Location, facts: AnyFacts) -> PublishedPlace:
    """Return where the hashes of a model are published, whether they are or not.

    Parameters
    ----------
    location : Location
        The model's folder; of an adapter also its file.
    facts : AnyFacts
        What was read there.

    Raises
    ------
    InvalidModel
        If an adapter's location cannot be listed.
    """
    if isinstance(facts, Adapter):
        listing = list_model(location, single_file=True)
        if listing.location is not location:  # a file, whose neighbours may be other adapters
            return PublishedPlace(Store(listing.location), f"{facts.files[0].path}.{PUBLISHED_NAME}")
    return PublishedPlace(Store(location), PUBLISHED_NAME)


def manifest_for(location: Location, facts: AnyFacts) -> ChunkManifest:
    """Cut a model into chunks, with the hashes that are published for its files as they are now.

    Parameters
    ----------
    location : Location
        The model's folder; of an adapter also its file.
    facts : AnyFacts
        What was read there.

    Returns
    -------
    ChunkManifest
        Without hashes for files of which none are published, or old ones: a warning names the first such file.
    """
    plain = cut(location, facts.revision, facts.files)
    published = _published(location, facts)
    if published is None:
        return plain
    differences = {file.path: published.difference(file) for file in plain.files}
    changed = {path: difference for path, difference in differences.items() if difference}
    if changed:
        path, difference = next(iter(changed.items()))
        logger.warning(
            "%s is not true of %d of the model's %d files: %s %s. Their hashes are taken at the first reading instead; "
            "run `pressrun model publish %s` again.",
            published.place,
            len(changed),
            len(plain.files),
            path,
            difference,
            location,
        )
    files = tuple(file if file.path in changed else published.with_hashes(file) for file in plain.files)
    return replace(plain, files=files)


def published_text(manifest: ChunkManifest, other_names: Mapping[str, tuple[str, ...]]) -> str:
    """Return what stands in the published file.

    Parameters
    ----------
    manifest : ChunkManifest
        With every hash.
    other_names : mapping
        By path, digests that other places would give the same bytes.
    """
    told = json.loads(manifest.to_json())
    for file in told["files"]:
        file[_NAMES] = list(other_names.get(file["path"], ()))
    return json.dumps(told, indent=1)


@dataclass(frozen=True, slots=True)
class _Published:
    place: PublishedPlace
    files: Mapping[str, ChunkedFile]
    names: Mapping[str, frozenset[str]]

    def difference(self, file: ChunkedFile) -> str:
        """Return how a file differs from the one that was hashed; "" where it does not."""
        then = self.files.get(file.path)
        if then is None or (then.size_bytes and not then.hashes):
            return "has no hashes there"
        if then.size_bytes != file.size_bytes:
            return f"has {file.size_bytes} bytes, and had {then.size_bytes}"
        if then.hashes and then.chunk_bytes != file.chunk_bytes:  # hosts hold several chunks in memory at a time
            return f"is cut into chunks of {file.chunk_bytes} bytes, and was into chunks of {then.chunk_bytes}"
        if file.digest not in self.names[file.path]:
            return f"is {file.digest} in the listing, and was {then.digest}"
        return ""

    def with_hashes(self, file: ChunkedFile) -> ChunkedFile:
        return replace(file, hashes=self.files[file.path].hashes)


def _published(location: Location, facts: AnyFacts) -> _Published | None:
    try:
        place = published_place(location, facts)
        return _read(place)
    except FileNotFoundError:
        return None
    except InvalidModel as error:
        logger.warning("Published hashes are passed over: %s", error)
    except Exception as error:
        # Only the class name: the text may hold credentials or a signed URL.
        logger.warning("Hashes published at %s cannot be read (%s); done without.", location, type(error).__name__)
    return None


def _read(place: PublishedPlace) -> _Published:
    text = place.store.read(place.name).decode(errors="replace")
    manifest = manifest_of_json(text, str(place))
    others = {file["path"]: file.get(_NAMES, ()) for file in json.loads(text)["files"]}
    return _Published(
        place,
        {file.path: file for file in manifest.files},
        {file.path: frozenset({file.digest, *map(str, others[file.path])}) for file in manifest.files},
    )


__all__ = ["PublishedPlace", "manifest_for", "published_place", "published_text"]

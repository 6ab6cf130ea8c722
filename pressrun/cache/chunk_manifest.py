"""A model's files cut into chunks, with the chunks' hashes where they are known.

Knows nothing of where chunks lie or travel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import xxhash

from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.content_names import names_contents, place_of
from pressrun.models.diffusers_folder import ModelFile

MIB = 2**20
SMALLEST_CHUNK_BYTES = 8 * MIB
_MOST_CHUNKS = 2000  # a file; larger files get larger chunks, so that no registry holds millions of them
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file that is fetched, checked and announced as one.

    Parameters
    ----------
    chunk_id : str
        Names the bytes: chunks of the same id are the same bytes, in whatever file or revision.
    path : str
        The file's POSIX path relative to the model's folder.
    number : int
        Place in the file, from 0.
    start : int
        First byte in the file.
    size_bytes : int
        Length, at least 1.
    xxh3 : str
        32 hexadecimal digits (XXH3-128), or "" where the chunk has not been read yet.
    alias : str
        The id that the chunk has for who does not know its hash; "" where that is `chunk_id`.
    """

    chunk_id: str
    path: str
    number: int
    start: int
    size_bytes: int
    xxh3: str = ""
    alias: str = ""

    @property
    def stop(self) -> int:
        """First byte after the chunk."""
        return self.start + self.size_bytes


@dataclass(frozen=True, slots=True)
class ChunkedFile:
    """One file of a model, cut into chunks of one size but the last.

    Parameters
    ----------
    path : str
        POSIX path relative to the model's folder.
    size_bytes : int
        Its size; an empty file has no chunks.
    digest : str
        The listing's name for its contents.
    content : str
        What files of the same contents have in common, in any revision.
    chunk_bytes : int
        Size of every chunk but the last.
    hashes : tuple of str
        XXH3-128 of each chunk, in order, as 32 hexadecimal digits; () until they are known.
    """

    path: str
    size_bytes: int
    digest: str
    content: str
    chunk_bytes: int
    hashes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of chunks."""
        return -(-self.size_bytes // self.chunk_bytes)

    def chunks(self) -> list[Chunk]:
        """Return the file's chunks, in order."""
        return [self._chunk(number) for number in range(len(self))]

    def _chunk(self, number: int) -> Chunk:
        start = number * self.chunk_bytes
        size_bytes = min(self.chunk_bytes, self.size_bytes - start)
        known = self.hashes[number] if self.hashes else ""
        place = f"{self.content}-{self.chunk_bytes}-{number}"
        bytes_name = f"{known}-{size_bytes}" if known else ""
        return Chunk(bytes_name or place, self.path, number, start, size_bytes, known, place if bytes_name else "")


@dataclass(frozen=True, slots=True)
class ChunkManifest:
    """The files of one revision, cut into chunks.

    Parameters
    ----------
    revision : str
        Digest of the model's listing.
    files : tuple of ChunkedFile
        What loading reads, by path.
    """

    revision: str
    files: tuple[ChunkedFile, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files)

    def chunks(self) -> list[Chunk]:
        """Return every chunk, file by file, in the order of their offsets."""
        return [chunk for file in self.files for chunk in file.chunks()]

    def with_hashes(self, found: dict[tuple[str, int], str]) -> ChunkManifest:
        """Return the manifest with hashes that were found by reading, by path and number; known ones stay."""
        return replace(self, files=tuple(_with_hashes(file, found) for file in self.files))

    def to_json(self) -> str:
        """Return the manifest as JSON; `manifest_of_json` reads it back."""
        return json.dumps(
            {
                "version": _VERSION,
                "revision": self.revision,
                "files": [
                    {
                        "path": file.path,
                        "size_bytes": file.size_bytes,
                        "digest": file.digest,
                        "content": file.content,
                        "chunk_bytes": file.chunk_bytes,
                        "xxh3": list(file.hashes),
                    }
                    for file in self.files
                ],
            },
            indent=1,
        )


def cut(
    location: Location,
    revision: str,
    files: Sequence[ModelFile],
    smallest_chunk_bytes: int = SMALLEST_CHUNK_BYTES,
) -> ChunkManifest:
    """Cut a model's files into chunks whose hashes nobody knows yet.

    Parameters
    ----------
    location : Location
        Where the files lie; part of what names contents whose listing tells no checksum.
    revision : str
        Digest of the listing.
    files : sequence of ModelFile
        What loading reads.
    smallest_chunk_bytes : int
        Size of a chunk of all files but the largest.

    Returns
    -------
    ChunkManifest
    """
    return ChunkManifest(revision, tuple(_cut(location, file, smallest_chunk_bytes) for file in files))


def chunk_bytes_of(size_bytes: int, smallest: int = SMALLEST_CHUNK_BYTES) -> int:
    """Return the size of a file's chunks: `smallest`, or whole MiB such that there are at most 2,000 of them."""
    needed = -(-size_bytes // _MOST_CHUNKS)
    return smallest if needed <= smallest else -(-needed // MIB) * MIB


def hash_of(data: bytes | bytearray | memoryview) -> str:
    """Return the XXH3-128 of bytes as 32 hexadecimal digits; lets go of the interpreter lock for large ones."""
    return xxhash.xxh3_128_hexdigest(data)


def manifest_of_json(text: str, name: str) -> ChunkManifest:
    """Read a manifest back.

    Parameters
    ----------
    text : str
        What `ChunkManifest.to_json` made.
    name : str
        What errors call it.

    Raises
    ------
    InvalidModel
        If the text is no such manifest, or names a place outside the model's folder.
    """
    try:
        told = json.loads(text)
        if told["version"] != _VERSION:
            raise InvalidModel(
                f"{name} has version {told['version']!r}, version {_VERSION} can be read; publish again."
            )
        files = tuple(
            ChunkedFile(
                path=str(file["path"]),
                size_bytes=int(file["size_bytes"]),
                digest=str(file["digest"]),
                content=str(file["content"]),
                chunk_bytes=int(file["chunk_bytes"]),
                hashes=tuple(map(str, file["xxh3"])),
            )
            for file in told["files"]
        )
        revision = str(told["revision"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidModel(f"{name} is no chunk manifest ({type(error).__name__}: {error}); publish again.") from None
    for file in files:
        _check(file, name)
    return ChunkManifest(revision, files)


def _check(file: ChunkedFile, name: str) -> None:
    parts = file.path.split("/")
    if file.path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in file.path:
        raise InvalidModel(f"{name} names the file {file.path!r}, which is no path inside a model; publish again.")
    if file.size_bytes < 0 or file.chunk_bytes < 1:
        raise InvalidModel(
            f"{name} gives {file.path} {file.size_bytes} bytes in chunks of {file.chunk_bytes}; publish again."
        )
    if file.hashes and len(file.hashes) != len(file):
        raise InvalidModel(
            f"{name} has {len(file.hashes)} hashes for the {len(file)} chunks of {file.path}; publish again."
        )
    if any(len(known) != 32 or set(known) - set("0123456789abcdef") for known in file.hashes):
        raise InvalidModel(f"{name} holds a hash of {file.path} that is not 32 hexadecimal digits; publish again.")


def _cut(location: Location, file: ModelFile, smallest: int) -> ChunkedFile:
    named = [file.digest, str(file.size_bytes)]
    if not names_contents(location, file.digest):  # it only names the file's state in its place
        named += [place_of(location), file.path]
    content = hashlib.blake2b("\0".join(named).encode(), digest_size=16).hexdigest()
    return ChunkedFile(file.path, file.size_bytes, file.digest, content, chunk_bytes_of(file.size_bytes, smallest))


def _with_hashes(file: ChunkedFile, found: dict[tuple[str, int], str]) -> ChunkedFile:
    numbers = range(len(file))
    if file.hashes or any((file.path, number) not in found for number in numbers):
        return file
    return replace(file, hashes=tuple(found[file.path, number] for number in numbers))


__all__ = [
    "SMALLEST_CHUNK_BYTES",
    "Chunk",
    "ChunkManifest",
    "ChunkedFile",
    "chunk_bytes_of",
    "cut",
    "hash_of",
    "manifest_of_json",
]

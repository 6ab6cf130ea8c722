"""Small models as bytes, their manifests, and a filling of them as a keeper does it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from pressrun.cache.chunk_manifest import Chunk, ChunkManifest, cut, hash_of
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFile
from workers.cache.chunk_store import ChunkStore
from workers.cache.filling import Filling

CHUNK_BYTES = 4096
Files = dict[str, bytes]


def model(seed: int, chunks: int = 4) -> Files:
    """Return a model of two weight files, a short one and an empty one."""
    noise = random.Random(seed)
    return {
        "unet/weights.safetensors": noise.randbytes(chunks * CHUNK_BYTES),
        "vae/weights.safetensors": noise.randbytes(CHUNK_BYTES + 100),
        "model_index.json": noise.randbytes(30),
        "vae/empty.txt": b"",
    }


def manifest_of(files: Files, revision: str, published: bool = False, chunk_bytes: int = CHUNK_BYTES) -> ChunkManifest:
    """Return a manifest, with hashes if it is published."""
    listed = [ModelFile(path, len(content), f"etag:{hash_of(content)}") for path, content in sorted(files.items())]
    manifest = cut(Location("s3://models/paint"), revision, listed, chunk_bytes)
    if not published:
        return manifest
    return manifest.with_hashes({(c.path, c.number): hash_of(bytes_of(files, c)) for c in manifest.chunks()})


def bytes_of(files: Files, chunk: Chunk) -> bytes:
    """Return a chunk's bytes."""
    return files[chunk.path][chunk.start : chunk.stop]


def fetch(filling: Filling, files: Files, chunks: Iterable[Chunk] | None = None) -> int:
    """Fetch chunks, or all that are lacking, and return how many bytes that were."""
    wanted = {chunk.chunk_id: chunk for chunk in (filling.lacking if chunks is None else chunks)}
    for chunk in wanted.values():
        content = bytes_of(files, chunk)
        filling.put(chunk, content, hash_of(content))
    return sum(chunk.size_bytes for chunk in wanted.values())


def store_model(store: ChunkStore, files: Files, revision: str, published: bool = False) -> int:
    """Fill a revision and return how many bytes had to be fetched."""
    with store.begin(manifest_of(files, revision, published)) as filling:
        fetched_bytes = fetch(filling, files)
        filling.publish()
    return fetched_bytes


@contextmanager
def forked(act: Callable[..., None], *told: object) -> Iterator[tuple[int, int]]:
    """Run `act(*told, descriptor)` in a process of its own; give its id and where to read what it writes."""
    reads, writes = os.pipe()
    process = get_context("fork").Process(target=act, args=(*told, writes))
    process.start()
    os.close(writes)
    assert process.pid is not None
    try:
        yield process.pid, reads
    finally:
        process.kill()
        process.join()
        os.close(reads)


def contents(folder: Path) -> Files:
    """Return what a revision's folder holds but the marker."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found.pop("complete.json", None)
    return found


def served(store: ChunkStore, chunk_id: str) -> bytes | None:
    """Return a chunk's bytes as a host would send them."""
    piece = store.find(chunk_id)
    if piece is None:
        return None
    with piece.path.open("rb") as file:
        return os.pread(file.fileno(), piece.size_bytes, piece.start)


def assert_served(store: ChunkStore, manifest: ChunkManifest, files: Files) -> None:
    """Assert that a store holds every chunk of a manifest, with the files' bytes."""
    assert {chunk.chunk_id for chunk in manifest.chunks()} <= set(store.held())
    for chunk in manifest.chunks():
        assert served(store, chunk.chunk_id) == bytes_of(files, chunk)

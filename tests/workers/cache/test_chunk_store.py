"""A host's cache folder: what comes is checked, shared and served, whoever else uses the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from shutil import copytree

import pytest

from pressrun.cache.chunk_manifest import Chunk, hash_of
from pressrun.errors import InvalidModel
from tests.workers.cache.stored_models import (
    CHUNK_BYTES,
    assert_served,
    bytes_of,
    contents,
    fetch,
    manifest_of,
    model,
    served,
    store_model,
)
from workers.cache.chunk_store import ChunkStore
from workers.cache.filling import WrongChunk

UNET = "unet/weights.safetensors"
VAE = "vae/weights.safetensors"


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    return ChunkStore(tmp_path / "cache")


@pytest.mark.parametrize("published", [False, True])
def test_a_filled_revision_is_whole_and_its_chunks_are_served(store: ChunkStore, published: bool) -> None:
    files, manifest = model(1), manifest_of(model(1), "r1", published)
    assert store.folder_of(manifest) is None
    assert store_model(store, files, "r1", published) == sum(map(len, files.values()))
    assert store.folder_of(manifest) == store.root / "r1"
    assert contents(store.root / "r1") == files
    assert_served(store, manifest, files)
    assert_served(ChunkStore(store.root), manifest, files)


def test_found_hashes_are_kept_and_name_the_chunks_too(store: ChunkStore) -> None:
    files = model(1)
    store_model(store, files, "r1")
    published = manifest_of(files, "r1", published=True)
    assert store.manifest_of("r1") == published
    assert_served(store, published, files)


def test_folders_and_files_are_for_this_user_only(store: ChunkStore) -> None:
    store_model(store, model(1), "r1")
    with store.pin("r1"), store.begin(manifest_of(model(2), "r2")):
        for path in (store.root, *store.root.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_chunks_are_served_while_others_are_lacking(store: ChunkStore) -> None:
    files, manifest = model(1), manifest_of(model(1), "r1")
    with store.begin(manifest) as filling:
        first, *others = filling.lacking
        fetch(filling, files, [first])
        assert served(store, first.chunk_id) == bytes_of(files, first)
        assert all(served(store, other.chunk_id) is None for other in others)
        assert store.folder_of(manifest) is None
        with pytest.raises(ValueError, match="lacks 6 chunks"):
            filling.publish()


def test_a_whole_file_is_seen_before_the_others_come(store: ChunkStore) -> None:
    files = model(1)
    with store.begin(manifest_of(files, "r1")) as filling:
        chunks = [chunk for chunk in filling.lacking if chunk.path == VAE]
        for chunk in chunks:
            is_whole = filling.put(chunk, bytes_of(files, chunk), hash_of(bytes_of(files, chunk)))
            assert is_whole == (chunk == chunks[-1])
        before = store.find(chunks[0].chunk_id)
        assert filling.publish_file(VAE) == store.root / "r1" / VAE
        assert (store.root / "r1" / VAE).read_bytes() == files[VAE]
        assert not (store.root / "r1" / UNET).exists()
        assert store.file_of(filling.manifest, VAE) == store.root / "r1" / VAE
        assert store.file_of(filling.manifest, UNET) is None
        assert VAE not in {chunk.path for chunk in filling.lacking}
        # Who was told of the place a moment before still finds the bytes there.
        assert before is not None
        assert before.path.read_bytes() == files[VAE]


def test_a_chunk_with_another_hash_than_published_is_not_taken(store: ChunkStore) -> None:
    with store.begin(manifest_of(model(1), "r1", published=True)) as filling:
        chunk = filling.lacking[0]
        with pytest.raises(WrongChunk, match=rf"hash to {chunk.xxh3}, but .* hash to {hash_of(b'other')}"):
            filling.put(chunk, bytes(chunk.size_bytes), hash_of(b"other"))
        with pytest.raises(WrongChunk, match=f"has {chunk.size_bytes} bytes .* 3 bytes came"):
            filling.put(chunk, b"cut", chunk.xxh3)
        assert chunk in filling.lacking
    assert chunk.chunk_id not in store.held()


def test_many_threads_may_fill_at_once(store: ChunkStore) -> None:
    files = model(1, chunks=200)
    with store.begin(manifest_of(files, "r1")) as filling, ThreadPoolExecutor(8) as threads:

        def fetch_one(chunk: Chunk) -> None:
            if filling.put(chunk, bytes_of(files, chunk), hash_of(bytes_of(files, chunk))):
                filling.publish_file(chunk.path)

        list(threads.map(fetch_one, Random(1).sample(filling.lacking, len(filling.lacking))))
        assert filling.publish() == store.root / "r1"
    assert contents(store.root / "r1") == files


def test_a_chunk_that_is_there_is_not_written_again(store: ChunkStore) -> None:
    files = model(1)
    with store.begin(manifest_of(files, "r1")) as filling:
        chunk = filling.lacking[0]
        fetch(filling, files, [chunk])
        filling.put(chunk, bytes(chunk.size_bytes), hash_of(bytes_of(files, chunk)))
        with pytest.raises(WrongChunk, match=f"{chunk.size_bytes} bytes came that hash to {hash_of(b'other')}"):
            filling.put(chunk, bytes(chunk.size_bytes), hash_of(b"other"))
        assert served(store, chunk.chunk_id) == bytes_of(files, chunk)


def test_publishing_again_does_no_harm(store: ChunkStore) -> None:
    files = model(1)
    with store.begin(manifest_of(files, "r1")) as filling:
        fetch(filling, files)
        assert filling.publish() == filling.publish()
    with store.begin(manifest_of(files, "r1")) as again:
        assert again.lacking == []
        again.publish()
    assert contents(store.root / "r1") == files


def test_files_of_the_same_content_are_shared_between_revisions(store: ChunkStore) -> None:
    base, tuned = model(1), {**model(1), UNET: model(2)[UNET]}
    store_model(store, base, "base")
    assert store_model(store, tuned, "tuned") == len(tuned[UNET])
    assert (store.root / "tuned" / VAE).samefile(store.root / "base" / VAE)
    assert contents(store.root / "tuned") == tuned
    assert store.status().size_bytes == sum(map(len, base.values())) + len(tuned[UNET])
    store.drop("base")
    assert contents(store.root / "tuned") == tuned
    assert_served(store, manifest_of(tuned, "tuned"), tuned)


def test_a_file_of_other_bytes_than_published_is_not_shared(store: ChunkStore) -> None:
    files = model(1)
    with store.begin(manifest_of(files, "old")) as filling:
        fetch(filling, {**files, VAE: model(2)[VAE]})
        filling.publish()
    assert store_model(store, files, "new", published=True) == len(files[VAE])
    assert contents(store.root / "new") == files


def test_published_chunks_that_another_file_has_are_copied(store: ChunkStore) -> None:
    base = model(1)
    tuned = {**base, UNET: base[UNET][: 3 * CHUNK_BYTES] + model(2)[UNET][:CHUNK_BYTES]}
    store_model(store, base, "base")
    assert store_model(store, tuned, "tuned", published=True) == CHUNK_BYTES
    assert contents(store.root / "tuned") == tuned
    assert contents(store.root / "base") == base


def test_a_chunk_that_comes_twice_in_a_model_is_fetched_once(store: ChunkStore) -> None:
    files = {"a.safetensors": bytes(3 * CHUNK_BYTES), "b.safetensors": bytes(3 * CHUNK_BYTES)}
    assert store_model(store, files, "zeros", published=True) == CHUNK_BYTES
    assert contents(store.root / "zeros") == files


def test_a_missing_or_cut_file_is_fetched_again_and_nothing_else(store: ChunkStore) -> None:
    files, manifest = model(1), manifest_of(model(1), "r1")
    store_model(store, files, "r1")
    (store.root / "r1" / VAE).write_bytes(files[VAE][:-1])
    (store.root / "r1" / "model_index.json").unlink()
    assert store.folder_of(manifest) is None
    assert store_model(ChunkStore(store.root), files, "r1") == len(files[VAE]) + 30
    assert store.folder_of(manifest)
    assert contents(store.root / "r1") == files


@pytest.mark.parametrize("drop", [lambda store: store.drop("r1"), lambda store: store.shrink_to(0)])
def test_what_another_process_published_or_dropped_is_noticed(
    tmp_path: Path, drop: Callable[[ChunkStore], object]
) -> None:
    lost: list[str] = []
    mine, others = ChunkStore(tmp_path, dropped=lost.extend), ChunkStore(tmp_path)
    store_model(others, model(1), "r1")
    chunk_ids = {chunk.chunk_id for chunk in manifest_of(model(1), "r1").chunks()}
    assert chunk_ids <= set(mine.held())
    others.drop("r1")
    assert mine.held() == {}
    assert chunk_ids <= set(lost)


def test_a_revision_of_an_older_version_is_complete_and_learns_its_hashes_when_begun(store: ChunkStore) -> None:
    files, manifest = model(1), manifest_of(model(1), "r1")
    for path, content in files.items():
        (store.root / "r1" / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / "r1" / path).write_bytes(content)
    sizes = {path: len(content) for path, content in files.items()}
    (store.root / "r1" / "complete.json").write_text(json.dumps({"revision": "r1", "sizes": sizes}))
    assert store.folder_of(manifest) == store.root / "r1"
    assert store.held() == {}
    assert store_model(store, files, "r1") == 0
    assert_served(store, manifest, files)


def test_a_folder_that_speaks_of_another_revision_is_not_complete(store: ChunkStore) -> None:
    store_model(store, model(1), "r1")
    copytree(store.root / "r1", store.root / "r2")
    assert store.folder_of(manifest_of(model(1), "r2")) is None


def test_a_whole_looking_file_that_nothing_speaks_for_is_fetched(store: ChunkStore) -> None:
    files = model(1)
    (store.root / "r1" / "unet").mkdir(parents=True)
    (store.root / "r1" / UNET).write_bytes(bytes(len(files[UNET])))
    assert store_model(store, files, "r1") == sum(map(len, files.values()))
    assert contents(store.root / "r1") == files


def test_bytes_that_differ_from_what_is_published_do_not_count(store: ChunkStore) -> None:
    files = model(1)
    store_model(store, {**files, VAE: model(2)[VAE]}, "r1")
    published = manifest_of(files, "r1", published=True)
    assert store.folder_of(published) is None
    with store.begin(published) as filling:
        assert fetch(filling, files) == len(files[VAE])
        filling.publish()
    assert store.folder_of(published) == store.root / "r1"
    assert contents(store.root / "r1") == files


def test_names_that_the_cache_needs_are_refused(store: ChunkStore) -> None:
    for name in ("complete.json", "a/b.partial", "b.journal", "../out", "/out", "a//b"):
        with pytest.raises(InvalidModel, match="rename it"):
            store.begin(manifest_of({name: b"x"}, "r1"))
    with pytest.raises(InvalidModel, match="cannot name a folder"):
        store.begin(manifest_of(model(1), "../out"))

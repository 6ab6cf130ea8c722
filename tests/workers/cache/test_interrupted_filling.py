"""A filling that is killed, at any moment, loses nothing that it had and shows nothing that is not whole."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

import pytest

from pressrun.errors import CacheInUse
from tests.workers.cache.stored_models import CHUNK_BYTES, contents, fetch, forked, manifest_of, model, store_model
from workers.cache.chunk_store import ChunkStore

CHUNKS = 60
FILES = model(7, CHUNKS)
SIZE = sum(map(len, FILES.values()))
UNET = "unet/weights.safetensors"
MANIFEST = manifest_of(FILES, "r1")
MANY = {f"config-{number}.json": b"%d" % number for number in range(150)}
KILLED_AFTER = (0, 1, 2, 3, 20, 50, 62, 63)


def fill(root: Path, told: int) -> None:
    """Fill the model, file by file as they come, and tell of every chunk."""
    store = ChunkStore(root)
    with store.begin(MANIFEST) as filling:
        os.write(told, b"b")
        for chunk in filling.lacking:
            fetch(filling, FILES, [chunk])
            os.write(told, b"c")
            if all(other.path != chunk.path for other in filling.lacking):
                filling.publish_file(chunk.path)
        filling.publish()
        os.write(told, b"p")


def kill_after(root: Path, chunks: int) -> int:
    """Kill a filling once it has told of so many chunks; return of how many it told."""
    told = b""
    with forked(fill, root) as (pid, reads):
        while told.count(b"c") < chunks and b"p" not in told:
            told += os.read(reads, 1)
        os.kill(pid, signal.SIGKILL)
        while more := os.read(reads, 4096):
            told += more
    return told.count(b"c")


@pytest.mark.parametrize("chunks", KILLED_AFTER)
def test_after_a_kill_only_what_was_lost_is_fetched_again(tmp_path: Path, chunks: int) -> None:
    had = kill_after(tmp_path, chunks)
    for path, content in contents(tmp_path / "r1").items() if (tmp_path / "r1").exists() else ():
        assert path not in FILES or content == FILES[path]
    store = ChunkStore(tmp_path)
    with store.begin(MANIFEST) as filling:
        assert len(filling.lacking) <= len(MANIFEST.chunks()) - had
        assert len(filling.lacking) >= len(MANIFEST.chunks()) - had - 1  # one was in place, but not told of
        fetch(filling, FILES)
        filling.publish()
    assert contents(tmp_path / "r1") == FILES
    assert sorted(store.held()) == sorted({i for c in store.manifest_of("r1").chunks() for i in (c.chunk_id, c.alias)})


def test_many_kills_in_a_row_come_to_an_end(tmp_path: Path) -> None:
    moments = random.Random(5)
    total = 0
    for _ in range(6):
        total += kill_after(tmp_path, moments.randrange(1, 15))
    fetched_bytes = store_model(ChunkStore(tmp_path), FILES, "r1")
    assert fetched_bytes <= SIZE - (total - 6) * CHUNK_BYTES
    assert contents(tmp_path / "r1") == FILES


def test_a_recorded_chunk_whose_bytes_are_lost_is_fetched_again(tmp_path: Path) -> None:
    store = ChunkStore(tmp_path)
    with store.begin(MANIFEST) as filling:
        mine = [chunk for chunk in filling.lacking if chunk.path == UNET][:5]
        fetch(filling, FILES, mine)
    with (tmp_path / "r1" / f"{UNET}.partial").open("r+b") as file:
        file.seek(mine[2].start)
        file.write(bytes(100))
    with ChunkStore(tmp_path).begin(MANIFEST) as filling:
        assert [chunk for chunk in mine if chunk in filling.lacking] == [mine[2]]


@pytest.mark.parametrize("damage", ["torn", "zeroed", "cut", "missing"])
def test_a_damaged_journal_loses_chunks_and_invents_none(tmp_path: Path, damage: str) -> None:
    with ChunkStore(tmp_path).begin(MANIFEST) as filling:
        fetch(filling, FILES, [chunk for chunk in filling.lacking if chunk.path == UNET])
    journal = tmp_path / "r1" / f"{UNET}.journal"
    records = bytearray(journal.read_bytes())
    if damage == "torn":
        records[32 * 10 + 5] ^= 1
    elif damage == "zeroed":
        records[:] = bytes(len(records))
    elif damage == "cut":
        del records[32 * 20 + 7 :]
    journal.write_bytes(records)
    if damage == "missing":
        journal.unlink()
    lost = {"torn": 1, "zeroed": CHUNKS, "cut": CHUNKS - 20, "missing": CHUNKS}[damage]
    with ChunkStore(tmp_path).begin(MANIFEST) as filling:
        assert sum(chunk.path == UNET for chunk in filling.lacking) == lost
        fetch(filling, FILES)
        filling.publish()
    assert contents(tmp_path / "r1") == FILES


def test_a_whole_file_with_a_torn_record_is_not_trusted(tmp_path: Path) -> None:
    with ChunkStore(tmp_path).begin(MANIFEST) as filling:
        fetch(filling, FILES, [chunk for chunk in filling.lacking if chunk.path == UNET])
        filling.publish_file(UNET)
    journal = tmp_path / "r1" / f"{UNET}.journal"
    records = bytearray(journal.read_bytes())
    records[5] ^= 1
    journal.write_bytes(records)
    store = ChunkStore(tmp_path)
    assert store.file_of(MANIFEST, UNET) is None
    with store.begin(MANIFEST) as filling:
        assert sum(chunk.path == UNET for chunk in filling.lacking) == CHUNKS


def test_whole_files_of_a_filling_that_was_interrupted_count(tmp_path: Path) -> None:
    with ChunkStore(tmp_path).begin(MANIFEST) as filling:
        fetch(filling, FILES, [chunk for chunk in filling.lacking if chunk.path == UNET])
        final = filling.publish_file(UNET)
    assert ChunkStore(tmp_path).file_of(MANIFEST, UNET) == final
    with ChunkStore(tmp_path).begin(MANIFEST) as filling:
        assert all(chunk.path != UNET for chunk in filling.lacking)


def test_a_partial_file_of_other_chunks_is_begun_anew(tmp_path: Path) -> None:
    with ChunkStore(tmp_path).begin(MANIFEST) as filling:
        fetch(filling, FILES, filling.lacking[:20])
    other = manifest_of(FILES, "r1", chunk_bytes=2 * CHUNK_BYTES)
    with ChunkStore(tmp_path).begin(other) as filling:
        assert len(filling.lacking) == len(other.chunks())


def publish_and_die(root: Path, told: int) -> None:
    filling = ChunkStore(root).begin(MANIFEST)
    fetch(filling, FILES)
    filling.publish()
    os.write(told, b"published")
    os._exit(1)


def test_a_chunk_that_is_spoilt_after_a_kill_at_the_end_is_repaired(tmp_path: Path) -> None:
    with forked(publish_and_die, tmp_path) as (_, reads):
        assert os.read(reads, 100) == b"published"
        assert os.read(reads, 100) == b""
    chunk = next(chunk for chunk in MANIFEST.chunks() if chunk.path == UNET)
    with (tmp_path / "r1" / UNET).open("r+b") as file:
        file.write(b"spoilt")
    store = ChunkStore(tmp_path)
    assert not store.recheck(chunk.chunk_id)
    assert store.folder_of(MANIFEST) is None
    assert store.file_of(MANIFEST, UNET) is None
    assert chunk.chunk_id not in ChunkStore(tmp_path).held()
    assert store_model(store, FILES, "r1") == CHUNK_BYTES
    assert contents(tmp_path / "r1") == FILES


def fill_whole(root: Path, told: int) -> None:
    os.write(told, b"begins ")
    os.write(told, str(store_model(ChunkStore(root), FILES, "r1")).encode())


def test_of_two_processes_one_fills_and_the_other_waits(tmp_path: Path) -> None:
    with ChunkStore(tmp_path).begin(MANIFEST) as filling, forked(fill_whole, tmp_path) as (_, reads):
        assert os.read(reads, 100) == b"begins "
        fetch(filling, FILES)
        filling.publish()
        filling.close()
        assert os.read(reads, 100) == b"0"
    assert contents(tmp_path / "r1") == FILES


def test_waiting_for_another_process_can_have_an_end(tmp_path: Path) -> None:
    with ChunkStore(tmp_path).begin(MANIFEST), pytest.raises(CacheInUse, match=r"for more than 0.1 s; wait longer"):
        ChunkStore(tmp_path).begin(MANIFEST, timeout_s=0.1)


def fill_many_files(root: Path, told: int) -> None:
    setrlimit(RLIMIT_NOFILE, (100, getrlimit(RLIMIT_NOFILE)[1]))
    store_model(ChunkStore(root), MANY, "many")
    os.write(told, b"published")


def test_a_model_may_have_more_files_than_a_process_may_have_open(tmp_path: Path) -> None:
    with forked(fill_many_files, tmp_path) as (_, reads):
        assert os.read(reads, 100) == b"published"
    assert contents(tmp_path / "many") == MANY


def test_a_chunk_that_comes_after_its_filling_was_closed_is_refused(tmp_path: Path) -> None:
    with ChunkStore(tmp_path).begin(MANIFEST) as filling:
        fetch(filling, FILES, filling.lacking[:5])
    with pytest.raises(OSError, match="closed already"):
        fetch(filling, FILES, filling.lacking[:1])
    with ChunkStore(tmp_path).begin(MANIFEST) as again:
        assert len(again.lacking) == len(MANIFEST.chunks()) - 5

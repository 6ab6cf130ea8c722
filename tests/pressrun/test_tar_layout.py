"""Collections whose pictures are in tars: what stands in them, and that nothing is lost on the way there."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import layout, manifest, tar_shards
from pressrun.collection import Identity, join_collection
from pressrun.errors import CollectionBusy, InvalidCollection
from pressrun.export.shards import Limits
from pressrun.location import Location
from pressrun.picture_place import read_picture
from pressrun.request import REQUEST_SCHEMA
from pressrun.storage import Store
from pressrun.tar_clearing import clear_tars
from pressrun.tar_path import TarPath
from pressrun.verification import verify
from tests.pressrun.export.reading import members
from tests.pressrun.small_collection import (
    DyingStore,
    Killed,
    ids,
    png,
    put_tar,
    snapshot,
    stars,
)
from tests.s3_server import S3Server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return empty(tmp_path)


def empty(folder: Path) -> Store:
    store = Store(Location(str(folder)))
    join_collection(store, Identity("", 0, layout="webdataset"))
    return store


def print_batches(store: Store, *requests: pa.Table) -> list[tuple[str, pa.Table]]:
    """Leave batches as workers do: a tar and then a receipt each."""
    receipts = [(f"batch-{number}", put_tar(store, batch, 0)) for number, batch in enumerate(requests)]
    for name, rows in receipts:
        manifest.write_receipt(store, name, rows)
    return receipts


def tars(store: Store) -> list[str]:
    return [name for name, _ in store.walk("") if name.endswith(".tar")]


def samples(store: Store, tar: str) -> dict[str, dict[str, bytes]]:
    """Return a tar's files by key and ending, seeing that the files of a sample are adjacent, as WebDataset needs."""
    found: dict[str, dict[str, bytes]] = {}
    for member, data in members(store.read(tar)):
        key, _, ending = member.name.partition(".")
        assert key not in found or key == list(found)[-1]
        found.setdefault(key, {})[ending] = data
    return found


def test_a_part_gets_tars_that_webdataset_reads_and_batches_leave_none(store: Store) -> None:
    manifest.compact(store, print_batches(store, stars(2), stars(3, first=2)))
    (tar,) = tars(store)
    (part,) = manifest.part_names(store)
    assert layout.part_of_shard(tar) == part
    rows = manifest.read_rows(store).to_pylist()
    found = samples(store, tar)
    assert list(found) == [row["image_id"] for row in rows]
    for row in rows:
        sample = found[row["image_id"]]
        assert sample["png"] == read_picture(store, row["path"])
        assert sample["txt"].decode() == row["prompt"]
        request = json.loads(sample["json"])
        assert {name: request[name] for name in REQUEST_SCHEMA.names} == {
            name: row[name] for name in REQUEST_SCHEMA.names
        }
    assert not verify(store).flaws


def test_a_path_alone_leads_to_the_pictures_bytes(store: Store) -> None:
    manifest.compact(store, print_batches(store, stars(3)))
    for number, path in enumerate(manifest.read_rows(store, ["path"]).column("path").to_pylist()):
        tar, _, rest = path.partition("#")
        start, _, size = rest.partition("/")[0].partition("+")
        assert store.read(tar)[int(start) : int(start) + int(size)] == png(number)


def test_pictures_that_wait_for_their_part_can_be_read(store: Store) -> None:
    print_batches(store, stars(2))
    paths = manifest.read_rows(store, ["path"]).column("path").to_pylist()
    assert [read_picture(store, path) for path in paths] == [png(0), png(1)]
    assert verify(store).counts() == {"leftover": 1}


def test_a_large_part_is_cut_into_several_tars(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_shards, "_LIMITS", Limits(2, None))
    manifest.compact(store, print_batches(store, stars(5)))
    assert [len(samples(store, tar)) for tar in tars(store)] == [2, 2, 1]
    assert not verify(store).flaws


def test_the_same_pictures_make_the_same_bytes_however_they_came(tmp_path: Path) -> None:
    one, other = empty(tmp_path / "one"), empty(tmp_path / "other")
    manifest.compact(one, print_batches(one, stars(4)))
    rows = put_tar(other, stars(4), 0)
    manifest.write_part(other, rows.take([2, 0, 3, 1]))  # batches finish in any order
    clear_tars(other)
    assert {tar: one.read(tar) for tar in tars(one)} == {tar: other.read(tar) for tar in tars(other)}


def test_killed_at_any_change_compacting_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_shards, "_LIMITS", Limits(3, None))
    killed = 0
    for lives in range(20):
        store = empty(tmp_path / str(lives))
        receipts = print_batches(store, stars(2), stars(2, first=2))
        try:
            manifest.compact(DyingStore(store.location, lives), receipts)
        except Killed:
            killed += 1
        else:
            break
        rows = manifest.read_rows(store)
        assert Counter(ids(rows)) == Counter(ids(stars(4)))
        for path, sha256 in zip(rows.column("path").to_pylist(), rows.column("sha256").to_pylist(), strict=True):
            assert hashlib.sha256(read_picture(store, path)).hexdigest() == sha256
        reopened(store)
        assert not verify(store).flaws
        assert Counter(key for tar in tars(store) for key in samples(store, tar)) == Counter(ids(stars(4)))
    assert killed == 7  # before each of two tars and the part, two receipts and two batches' tars


def reopened(store: Store) -> None:
    """Do what the next run does when it opens."""
    store.sweep()
    manifest.compact_leftovers(store)
    clear_tars(store)


def test_what_a_killed_run_left_goes_once_its_pictures_are_drawn_anew(store: Store) -> None:
    put_tar(store, stars(3), 0)  # of a worker that was killed before the receipt
    store.write(layout.shard("ab" * 10, 0), b"of a part that was never written")
    manifest.compact(store, print_batches(store, stars(2)))
    reopened(store)
    assert verify(store).counts() == {"orphan": 1}, "its worker may be about to write the receipt"
    manifest.compact(store, print_batches(store, stars(2, first=2)))
    reopened(store)
    assert not verify(store).flaws


def test_a_late_double_of_a_batch_that_is_in_a_part_changes_nothing_and_goes(store: Store) -> None:
    manifest.compact(store, print_batches(store, stars(2)))
    before = snapshot(store)
    print_batches(store, stars(2))
    assert [TarPath.of(path).tar for path in manifest.read_rows(store, ["path"]).column("path").to_pylist()] == [
        tar for tar in tars(store) if tar.startswith("shards/")
    ] * 2
    reopened(store)
    assert snapshot(store) == before


def test_a_tar_that_is_not_the_collections_is_left_alone(store: Store) -> None:
    for name in ("shards/mine.tar", "shards/notes-00001.txt"):
        store.write(name, b"mine")
    clear_tars(store)
    assert store.names("shards") == ["shards/mine.tar", "shards/notes-00001.txt"]


def test_a_batch_whose_tar_is_spoilt_is_not_passed_on(store: Store) -> None:
    receipts = print_batches(store, stars(2))
    (tar,) = tars(store)
    store.write(tar, store.read(tar)[:600])
    with pytest.raises(InvalidCollection, match=r"receipts/\w+\.tar#\d+\+\d+/\w+\.png .* `pressrun verify --repair`"):
        manifest.compact(store, receipts)
    assert manifest.part_names(store) == []


def test_a_run_that_lost_its_claim_stops_moving_pictures(store: Store) -> None:
    receipts = print_batches(store, stars(2))

    def refuse() -> None:
        raise CollectionBusy("taken over")

    with pytest.raises(CollectionBusy):
        manifest.compact(store, receipts, refuse)
    assert (manifest.part_names(store), len(tars(store))) == ([], 1)


def test_tars_in_a_bucket_are_read_by_range(s3_server: S3Server) -> None:
    store = Store(Location(f"{s3_server.make_bucket()}/out", s3_server.storage_options))
    join_collection(store, Identity("", 0, layout="webdataset"))
    manifest.compact(store, print_batches(store, stars(3)))
    paths = manifest.read_rows(store, ["path"]).column("path").to_pylist()
    assert [read_picture(store, path) for path in paths] == [png(0), png(1), png(2)]
    assert not verify(store).flaws
    (tar,) = tars(store)
    store.write(tar, store.read(tar)[:700])  # ends before the last picture begins
    assert read_picture(store, paths[2]) == b""
    assert verify(store).counts() == {"changed": 3}
    with tarfile.open(fileobj=io.BytesIO(store.read(tar))) as cut, pytest.raises(tarfile.ReadError):
        cut.getmembers()

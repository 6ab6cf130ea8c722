"""One contract for every place that objects are kept in."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pressrun.location import Location
from pressrun.storage import TEMPORARY, Store
from tests.pressrun.small_collection import snapshot
from tests.s3_server import S3Server

PLACES = ("folder", "memory", "bucket", "bucket root")
RACE = """
import sys
from pressrun.location import Location
from pressrun.storage import Store
store = Store(Location(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(*(number for number in range(200) if store.create(f"claims/{number}", sys.argv[2].encode())))
"""


@pytest.fixture(params=PLACES)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "folder":
        return Location(str(tmp_path / "a place"))
    if request.param == "memory":
        return Location(f"memory://{uuid.uuid4().hex}")
    server: S3Server = request.getfixturevalue("s3_server")
    # As users give them: s3fs remembers listings unless it is told not to.
    options = {name: value for name, value in server.storage_options.items() if name != "use_listings_cache"}
    return Location(server.make_bucket() + ("/a place" if request.param == "bucket" else ""), options)


@pytest.fixture
def store(location: Location) -> Store:
    return Store(location)


@pytest.fixture
def elsewhere(location: Location) -> Store:
    """The same place as another process sees it."""
    return Store(Location(location.url, {**location.options, "skip_instance_cache": True}))


def test_what_was_written_is_read(store: Store) -> None:
    store.write("one", b"1")
    store.write("deep/in/here", bytes(range(256)))
    store.write("one", b"one")
    store.write("empty", b"")
    assert snapshot(store) == {"one": b"one", "deep/in/here": bytes(range(256)), "empty": b""}


def test_a_written_file_is_seen_whole_when_its_block_ends(store: Store, elsewhere: Store) -> None:
    store.write("deep/one", b"old")
    with store.writing("deep/one") as one, store.writing("two") as two:
        for _ in range(3):
            one.write(bytes(100_000))
            two.write(b"2")
        assert snapshot_of_finished(elsewhere) == {"deep/one": b"old"}
    assert snapshot(elsewhere) == {"deep/one": bytes(300_000), "two": b"222"}


def test_of_a_file_whose_block_fails_nothing_is_seen(store: Store) -> None:
    store.write("one", b"old")
    with pytest.raises(ZeroDivisionError), store.writing("one") as one, store.writing("two") as two:  # noqa: PT012
        one.write(b"new")
        two.write(b"2")
        one.flush()
        raise ZeroDivisionError
    assert snapshot(store) == {"one": b"old"}


def snapshot_of_finished(store: Store) -> dict[str, bytes]:
    return {name: data for name, data in snapshot(store).items() if not name.startswith(TEMPORARY)}


def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert not store.exists("nothing")
    assert store.names("nothing") == store.folders("nothing") == list(store.walk("nothing")) == []
    assert store.names("") == []
    with pytest.raises(FileNotFoundError):
        store.read("nothing")
    store.delete(["nothing", "nothing/at/all"])


def test_names_are_those_directly_in_a_folder(store: Store) -> None:
    for name in ("b.json", "a.parquet", "in/c.parquet", "in/b.parquet", "in/b.json", "in/deeper/d.parquet"):
        store.write(name, b"x")
    assert store.names("") == ["a.parquet", "b.json"]
    assert store.names("in") == ["in/b.json", "in/b.parquet", "in/c.parquet"]
    assert store.names("in", ".parquet") == ["in/b.parquet", "in/c.parquet"]
    assert [name for name in store.folders("") if name != TEMPORARY] == ["in"]
    assert store.folders("in") == ["in/deeper"]


def test_walking_finds_every_object_at_any_depth_with_its_size(store: Store) -> None:
    store.write("images/ab/1", b"12345")
    store.write("images/cd/ef/2", b"")
    store.write("imagesque/3", b"1")
    assert dict(store.walk("images")) == {"images/ab/1": 5, "images/cd/ef/2": 0}
    assert set(dict(store.walk(""))) == {"images/ab/1", "images/cd/ef/2", "imagesque/3"}


def test_deleting_leaves_the_others(store: Store) -> None:
    for name in ("in/a", "in/b", "in/c"):
        store.write(name, b"x")
    store.delete(name for name in ["in/a", "in/c", "in/a"])
    assert store.names("in") == ["in/b"]
    assert not store.exists("in/a")


def test_creating_takes_a_name_once(store: Store) -> None:
    assert store.create("deep/claim", b"first")
    assert not store.create("deep/claim", b"second")
    assert store.read("deep/claim") == b"first"
    store.delete(["deep/claim"])
    assert store.create("deep/claim", b"third")


def test_exactly_one_of_many_creates(location: Location) -> None:
    for round_number in range(5):
        together = threading.Barrier(6)

        def race(racer: int, name: str = f"claim-{round_number}", together: threading.Barrier = together) -> bool:
            store = Store(location)
            together.wait()
            return store.create(name, str(racer).encode())

        with ThreadPoolExecutor(6) as racers:
            won = list(racers.map(race, range(6)))
        assert sum(won) == 1
        assert Store(location).read(f"claim-{round_number}") == str(won.index(True)).encode()


def test_exactly_one_of_many_processes_creates(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), str(racer)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for racer in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [racer.communicate(timeout=30)[0].split() for racer in racers]
    assert sorted(int(number) for numbers in won for number in numbers) == list(range(200))
    store = Store(Location(str(tmp_path)))
    for racer, numbers in enumerate(won):
        assert {store.read(f"claims/{number}") for number in numbers} <= {str(racer).encode()}


def test_no_reader_sees_half_an_object(store: Store, elsewhere: Store) -> None:
    versions = [letter * 300_000 for letter in (b"a", b"b", b"c")]
    store.write("report", versions[0])
    done = threading.Event()

    def read() -> set[bytes]:
        seen = set()
        while not done.is_set():
            seen.add(elsewhere.read("report"))
        return seen

    with ThreadPoolExecutor(2) as readers:
        reading = [readers.submit(read) for _ in range(2)]
        for number in range(30):
            store.write("report", versions[number % 3])
        done.set()
    assert set().union(*(reader.result() for reader in reading)) <= set(versions)


def test_what_another_process_writes_is_seen_at_once(store: Store, elsewhere: Store) -> None:
    store.write("in/a", b"old")
    assert (store.names("in"), store.exists("in/b"), len(list(store.walk("")))) == (["in/a"], False, 1)
    elsewhere.write("in/b", b"new")
    assert store.read("in/b") == b"new"  # although the listing that was seen did not hold it
    elsewhere.write("in/a", b"longer than before")
    assert store.read("in/a") == b"longer than before"
    assert (store.names("in"), store.exists("in/b"), len(list(store.walk("")))) == (["in/a", "in/b"], True, 2)
    elsewhere.delete(["in/a", "in/b"])
    assert (store.names("in"), store.exists("in/b"), list(store.walk(""))) == ([], False, [])


def test_sweeping_removes_temporary_objects_only(store: Store) -> None:
    store.write(f"{TEMPORARY}/half", b"x")
    store.write("whole", b"x")
    store.sweep()
    assert snapshot(store) == {"whole": b"x"}
    store.sweep()
    store.write("after", b"x")
    assert set(snapshot(store)) == {"whole", "after"}


def test_a_failed_local_write_leaves_the_old_object_and_nothing_else(tmp_path: Path) -> None:
    store = Store(Location(str(tmp_path)))
    store.write("name", b"old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        store.write("folder", b"x")
    assert snapshot(store) == {"name": b"old"}


def test_a_folder_marked_by_an_object_is_empty(s3_server: S3Server) -> None:
    location = Location(f"{s3_server.make_bucket()}/made-by-hand", s3_server.storage_options)
    store = Store(location)
    store.filesystem.touch(f"{store.root}/")
    assert store.names("") == list(store.walk("")) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("out/here", "out/here"),
        ("s3://key:secret@bucket/in?version=secret", "s3://bucket/in"),
        ("simplecache::s3://key:secret@bucket/in", "simplecache::s3://bucket/in"),
        ("zip://a.csv::sftp://me:secret@host/in.zip", "zip://a.csv::sftp://host/in.zip"),
        ("memory://in", "memory://in"),
    ],
)
def test_a_location_shows_no_secret(url: str, shown: str) -> None:
    location = Location(url, {"secret": "secret", "key": "secret"})
    assert str(location) == shown
    assert "secret" not in repr(location)
    assert "secret" not in f"{location.child('x')!r} {location.child('x')}"

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import s3fs

from pressrun import layout, storage
from pressrun.collection import Identity, check_location, join_collection, read_identity
from pressrun.errors import InvalidCollection
from pressrun.location import Location
from pressrun.storage import Store
from tests.pressrun.small_collection import claim_of, snapshot
from tests.s3_server import S3Server

IDENTITY = Identity("e" * 32, 8)


def test_a_new_collection_keeps_what_it_was_made_with(store: Store) -> None:
    assert join_collection(store, IDENTITY) == IDENTITY
    assert read_identity(store) == IDENTITY
    before = snapshot(store)
    assert join_collection(store, IDENTITY) == IDENTITY
    assert snapshot(store) == before


@pytest.mark.parametrize("change", [{"embedder": "f" * 32}, {"embedder": "", "embedding_size": 0}])
def test_a_job_with_another_embedder_is_refused_naming_both(store: Store, change: dict[str, object]) -> None:
    join_collection(store, IDENTITY)
    wanted = replace(IDENTITY, **change)  # type: ignore[arg-type]
    with pytest.raises(
        InvalidCollection, match=rf"embedder {'e' * 12} \(8 values\).*{wanted.embedder[:12] or 'none'} "
    ):
        join_collection(store, wanted)
    assert read_identity(store) == IDENTITY


def test_two_jobs_that_join_at_once_agree(location: Location) -> None:
    wanted = [Identity("a" * 32, 4), Identity("b" * 32, 4)]
    together = threading.Barrier(2)

    def join(identity: Identity) -> Identity | None:
        together.wait()
        try:
            return join_collection(Store(location), identity)
        except InvalidCollection:
            return None

    with ThreadPoolExecutor(2) as jobs:
        joined = list(jobs.map(join, wanted))
    assert [identity for identity in joined if identity is not None] == [read_identity(Store(location))]


@pytest.mark.parametrize(
    "record", [b"", b"\xff", b"[]", b'"x"', b"{}", b'{"format_version": 1}', b'{"format_version": 2, "embedder": ""}']
)
def test_another_collection_file_is_refused_and_left_alone(tmp_path: Path, record: bytes) -> None:
    (tmp_path / layout.COLLECTION).write_bytes(record)
    store = Store(Location(str(tmp_path)))
    for look in (read_identity, check_location, lambda store: join_collection(store, IDENTITY)):
        with pytest.raises(InvalidCollection, match="reads version 1"):
            look(store)
    assert snapshot(store) == {layout.COLLECTION: record}


def test_a_place_without_a_collection_says_so(store: Store) -> None:
    with pytest.raises(InvalidCollection, match=r"holds no collection \(no collection.json\)"):
        read_identity(store)


@pytest.mark.parametrize("name", ["holiday.jpg", "images/ab/holiday.png"])
def test_a_foreign_folder_is_refused_and_nothing_is_written_there(store: Store, name: str) -> None:
    store.write(name, b"mine")
    store.sweep()
    with pytest.raises(InvalidCollection, match=f"holds '{name.split('/')[0]}', 1 files and folders"):
        join_collection(store, IDENTITY)
    assert snapshot(store) == {name: b"mine"}


def test_a_file_is_no_place_for_a_collection(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    for name in ("out", "out/below"):
        store = Store(Location(str(tmp_path / name)))
        for look in (read_identity, check_location, lambda store: join_collection(store, IDENTITY)):
            with pytest.raises(InvalidCollection, match=rf"{name} is a file or lies below one; give a folder"):
                look(store)
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_a_place_that_only_a_killed_run_has_claimed_is_free(store: Store) -> None:
    store.write(layout.WRITER, claim_of("killed"))
    store.write(".tmp/half", b"x")
    assert join_collection(store, IDENTITY) == IDENTITY


@pytest.mark.parametrize("look", [read_identity, check_location])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("foo://x", r"foo://x cannot be used \(ValueError: Protocol not known: foo\)"),
        ("s3://bucket/x", r"s3://bucket/x cannot be used \(NoCredentialsError: Unable to locate credentials\)"),
    ],
)
def test_a_location_that_cannot_be_used_is_refused_naming_the_remedy(
    look: Callable[[Store], object], url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InvalidCollection, match=rf"{reason}\. Check the URL, .* the endpoint and credentials"):
        look(Store(Location(url, {"skip_instance_cache": True} if url.startswith("s3") else {})))


@pytest.mark.parametrize("look", [read_identity, check_location])
def test_a_bucket_that_is_not_there_is_refused(look: Callable[[Store], object], s3_server: S3Server) -> None:
    location = Location("s3://no-such-bucket/x", s3_server.storage_options)
    with pytest.raises(InvalidCollection, match=r"s3://no-such-bucket/x cannot be used .*bucket does not exist"):
        look(Store(location))


def test_a_server_that_does_not_answer_is_named_without_the_secrets_of_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    options = {
        "key": "key",
        "secret": "hidden",
        "endpoint_url": "http://127.0.0.1:9/hidden",
        "config_kwargs": {"retries": {"max_attempts": 0}},
        "skip_instance_cache": True,
    }
    with pytest.raises(InvalidCollection, match=r"s3://bucket/x cannot be used .*EndpointConnectionError") as refused:
        check_location(Store(Location("s3://bucket/x", options)))
    assert "hidden" not in "".join(traceback.format_exception(refused.value))


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    with pytest.raises(InvalidCollection, match=f"cannot be written to: {tmp_path} is read-only"):
        check_location(Store(Location(str(tmp_path / "new" / "out"))))


def test_another_layout_is_refused_with_the_way_out(store: Store) -> None:
    join_collection(store, IDENTITY)
    with pytest.raises(
        InvalidCollection, match=r"layout files, the job asks for webdataset; use the same .* \(--reuse-from"
    ):
        join_collection(store, replace(IDENTITY, layout="webdataset"))


def test_a_collection_from_before_there_was_a_choice_has_files(store: Store) -> None:
    join_collection(store, IDENTITY)
    record = store.read_record(layout.COLLECTION)
    del record["layout"]
    store.write(layout.COLLECTION, json.dumps(record).encode())
    assert join_collection(store, IDENTITY) == IDENTITY


def test_pictures_of_another_format_are_refused(store: Store) -> None:
    join_collection(store, IDENTITY)
    with pytest.raises(InvalidCollection, match=r"holds \.png pictures, the job would write \.webp"):
        join_collection(store, replace(IDENTITY, image_ending="webp"))

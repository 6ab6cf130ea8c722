"""Chunks come whole from any origin that can give them, and nothing else is taken for them."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, repeat
from pathlib import Path
from typing import Any

import pytest

from pressrun.location import Location
from pressrun.models.listing import list_model
from tests.faulty_front import DROPPED, LONGER, STALLED, TRUNCATED, Front, faulty_front
from tests.s3_server import S3Server, s3_server  # noqa: F401
from workers.cache.fsspec_source import FsspecSource
from workers.cache.obstore_source import ObstoreSource
from workers.cache.origin import Origin, OriginFailed, Patience, open_origin

WEIGHTS = os.urandom(300_000)
FILES = {"unet/weights.safetensors": WEIGHTS, "vae/a file (ü) + 100%#1.bin": WEIGHTS[::-1], "config.json": b"{}"}
UNET = "unet/weights.safetensors"
SECRET = "test-secret"
EACH_TIME = Patience(sleep=lambda _: None)


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Location:  # noqa: F811
    location = Location(f"{s3_server.make_bucket()}/models/paint", s3_server.storage_options)
    filesystem, root = location.open_filesystem()
    filesystem.pipe({f"{root}/{name}": content for name, content in FILES.items()})
    filesystem.chmod(f"{root}/{UNET}", "public-read")
    return location


@pytest.fixture(scope="module")
def one_front(s3_server: S3Server) -> Iterator[Front]:  # noqa: F811
    with faulty_front(s3_server.endpoint_url) as front:
        yield front


@pytest.fixture
def front(one_front: Front) -> Front:
    one_front.faults, one_front.reads = iter(()), []
    return one_front


def behind(bucket: Location, front: Front) -> Location:
    return Location(bucket.url, {**bucket.options, "endpoint_url": front.url})


def read(origin: Origin, path: str, start: int, stop: int, digest: str = "") -> bytes:
    into = bytearray(stop - start)
    origin.read(path, start, digest, memoryview(into))
    return bytes(into)


def source_of(origin: Origin) -> Any:
    return origin._source


def test_ranges_of_a_bucket_come_by_obstore_from_many_threads(bucket: Location) -> None:
    origin, listing = open_origin(bucket), list_model(bucket)
    assert isinstance(source_of(origin), ObstoreSource)
    assert source_of(open_origin(bucket))._store is source_of(origin)._store
    spans = [(name, start) for name in FILES for start in range(0, len(FILES[name]), 70_000)]

    def chunk(span: tuple[str, int]) -> bytes:
        name, start = span
        return read(origin, name, start, min(start + 70_000, len(FILES[name])), listing.digest(name))

    with ThreadPoolExecutor(8) as threads:
        pieces = dict(zip(spans, threads.map(chunk, spans), strict=True))
    for name, content in FILES.items():
        assert b"".join(pieces[span] for span in spans if span[0] == name) == content


@pytest.mark.parametrize(
    "option",
    [
        {"version_aware": True},
        {"s3_additional_kwargs": {"ExpectedBucketOwner": "1"}},
        {"config_kwargs": {"user_agent_extra": "studio"}},
        {"client_kwargs": {"api_version": "2006-03-01"}},
    ],
)
def test_options_that_cannot_be_translated_leave_a_bucket_to_fsspec_and_are_named(
    bucket: Location, option: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "workers.cache")
    location = Location(bucket.url, {**bucket.options, **option})
    origin = open_origin(location)
    assert isinstance(source_of(origin), FsspecSource)
    ((name, inner),) = option.items()
    named = ".".join([name, *inner]) if isinstance(inner, dict) else name
    assert [message for message in caplog.messages if "slower" in message] == [
        f"The bucket {location.url.split('/')[2]} is read by s3fs, which is slower, because of the option {named}."
    ]
    assert read(origin, UNET, 5, 25, list_model(location).digest(UNET)) == WEIGHTS[5:25]


def test_options_of_a_bucket_are_kept(bucket: Location) -> None:
    endpoint = bucket.options["endpoint_url"]
    same = {
        "client_kwargs": {
            "endpoint_url": endpoint,
            "region_name": "eu-west-1",
            "aws_access_key_id": "key",
            "aws_secret_access_key": SECRET,
        },
        "config_kwargs": {"s3": {"addressing_style": "path"}, "read_timeout": 5},
        "requester_pays": True,
    }
    for options in (same, {"anon": True, "endpoint_url": endpoint}):
        origin = open_origin(Location(bucket.url, options))
        assert isinstance(source_of(origin), ObstoreSource)
        assert read(origin, UNET, 0, 9) == WEIGHTS[:9]
    config = source_of(open_origin(Location(bucket.url, same)))._store.config
    assert (config["region"], config["request_payer"]) == ("eu-west-1", "true")


def test_credentials_are_found_where_boto_finds_them(
    bucket: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text(f"[studio]\naws_access_key_id=test\naws_secret_access_key={SECRET}\n")
    (tmp_path / "config").write_text("[profile studio]\nregion=eu-north-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    # What obstore would take from the environment by itself must not mix with what the options say.
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of somebody else")
    origin = open_origin(Location(bucket.url, {"profile": "studio", "endpoint_url": bucket.options["endpoint_url"]}))
    store = source_of(origin)._store
    assert read(origin, UNET, 0, 9) == WEIGHTS[:9]
    assert store.config["region"] == "eu-north-1"
    found = store.credential_provider()
    assert (found["access_key_id"], found["secret_access_key"], found["token"]) == ("test", SECRET, None)


def test_missing_credentials_are_told_at_once(bucket: Location, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    waits: list[float] = []
    origin = open_origin(
        Location(bucket.url, {"endpoint_url": bucket.options["endpoint_url"]}), patience=Patience(sleep=waits.append)
    )
    with pytest.raises(OriginFailed) as caught:
        read(origin, UNET, 0, 9)
    assert caught.value.lasting
    assert caught.value.fault == "denied"
    assert waits == []


def test_a_store_that_refuses_a_fifth_of_all_requests_serves_every_chunk(bucket: Location, front: Front) -> None:
    front.faults = cycle([503, None, None, None, None])
    origin = open_origin(behind(bucket, front), patience=EACH_TIME)
    with ThreadPoolExecutor(8) as threads:
        pieces = threads.map(lambda start: read(origin, UNET, start, start + 10_000), range(0, 300_000, 10_000))
        assert b"".join(pieces) == WEIGHTS
    assert front.reads.count(503) >= 6
    assert front.reads.count(None) == 30


@pytest.mark.parametrize("fault", [429, 500, 503, TRUNCATED, LONGER, DROPPED])
def test_a_passing_fault_is_tried_again_after_growing_waits(bucket: Location, front: Front, fault: int) -> None:
    waits: list[float] = []
    front.faults = iter([fault] * 3)
    origin = open_origin(behind(bucket, front), patience=Patience(sleep=waits.append))
    assert read(origin, UNET, 1000, 90_000, list_model(bucket).digest(UNET)) == WEIGHTS[1000:90_000]
    assert front.reads == [fault] * 3 + [None]
    assert all(0.05 * 3**n <= wait <= 0.15 * 3**n for n, wait in enumerate(waits))
    assert len(waits) == 3


def test_an_origin_that_falls_silent_is_asked_again(bucket: Location, front: Front) -> None:
    front.faults = iter([STALLED])
    there = behind(bucket, front)
    patient = Location(there.url, {**there.options, "config_kwargs": {"read_timeout": 0.5}})
    assert read(open_origin(patient, patience=EACH_TIME), UNET, 0, 250_000) == WEIGHTS[:250_000]
    assert front.reads == [STALLED, None]


@pytest.mark.parametrize("fault", [503, TRUNCATED, LONGER])
def test_a_fault_that_lasts_is_told_without_secrets_and_never_taken_for_bytes(
    bucket: Location, front: Front, fault: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    front.faults = repeat(fault)
    origin = open_origin(behind(bucket, front), patience=EACH_TIME)
    with pytest.raises(OriginFailed, match=rf"{UNET}.*at attempt 7 of 7") as caught:
        read(origin, UNET, 0, 90_000)
    assert not caught.value.lasting
    assert len(front.reads) == 7
    assert front.url not in caught.value.reason + caplog.text
    assert SECRET not in caught.value.reason + caplog.text
    assert ("503" in caught.value.reason) == (fault == 503)


@pytest.mark.parametrize(
    ("status", "fault", "translated"),
    [
        (400, "denied", True),
        (401, "denied", True),
        *((status, fault, by) for status, fault in ((403, "denied"), (404, "gone")) for by in (True, False)),
    ],
)
def test_what_asking_again_cannot_help_is_refused_at_once_and_denials_told_apart(
    bucket: Location, front: Front, status: int, fault: str, translated: bool
) -> None:
    front.faults = repeat(status)
    there = behind(bucket, front)
    options = dict(there.options) | ({} if translated else {"version_aware": True})
    origin = open_origin(Location(there.url, options), patience=EACH_TIME)
    with pytest.raises(OriginFailed, match="at attempt 1 of 7") as caught:
        read(origin, UNET, 0, 9)
    assert (caught.value.lasting, caught.value.fault) == (True, fault)
    assert len(front.reads) == 1


@pytest.mark.parametrize(("translated", "listens"), [(True, True), (True, False), (False, False)])
def test_an_origin_that_never_answered_this_host_is_left_to_others_at_once(
    bucket: Location, listens: bool, translated: bool
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        options = {
            **bucket.options,
            "endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "config_kwargs": {"connect_timeout": 0.3, "read_timeout": 0.3, "retries": {"max_attempts": 0}},
        }
        origin = open_origin(
            Location(bucket.url, options | ({} if translated else {"version_aware": True})), patience=EACH_TIME
        )
        with pytest.raises(OriginFailed, match="at attempt 1 of 7") as caught:
            read(origin, UNET, 0, 9)
    assert (caught.value.lasting, caught.value.fault) == (False, "unreached")


def test_a_file_that_is_not_there_is_refused_at_once(bucket: Location) -> None:
    with pytest.raises(OriginFailed, match="FileNotFoundError, at attempt 1") as caught:
        read(open_origin(bucket, patience=EACH_TIME), "unet/none.bin", 0, 9)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, again.lasting, again.fault) == (caught.value.reason, True, "gone")


@pytest.mark.parametrize("translated", [True, False])
def test_a_file_that_was_overwritten_or_cut_is_refused_as_changed(s3_server: S3Server, translated: bool) -> None:  # noqa: F811
    options = s3_server.storage_options | ({} if translated else {"version_aware": True})
    location = Location(f"{s3_server.make_bucket()}/paint", options)
    filesystem, root = location.open_filesystem()
    filesystem.pipe(f"{root}/{UNET}", WEIGHTS)
    origin, digest = open_origin(location, patience=EACH_TIME), list_model(location).digest(UNET)
    assert read(origin, UNET, 100, 109, digest) == WEIGHTS[100:109]
    for other in (WEIGHTS[:-1] + b"\x01", WEIGHTS[:50]):
        filesystem.pipe(f"{root}/{UNET}", other)
        with pytest.raises(OriginFailed, match=rf"{UNET} of the model .* changed after the run was planned") as caught:
            read(origin, UNET, 100, 109, digest)
        assert caught.value.lasting


def test_a_bucket_itself_and_a_single_file_are_origins_too(s3_server: S3Server) -> None:  # noqa: F811
    bucket = Location(s3_server.make_bucket(), s3_server.storage_options)
    filesystem, root = bucket.open_filesystem()
    filesystem.pipe(f"{root}/ink.safetensors", WEIGHTS)
    assert read(open_origin(bucket), "ink.safetensors", 3, 33) == WEIGHTS[3:33]
    file = bucket.child("ink.safetensors")
    listing = list_model(file, single_file=True)
    origin = open_origin(file, single_file=True)
    assert read(origin, "ink.safetensors", 3, 33, listing.digest("ink.safetensors")) == WEIGHTS[3:33]


def test_a_web_server_is_read_by_obstore_and_signed_urls_by_fsspec(bucket: Location, front: Front) -> None:
    filesystem, root = bucket.open_filesystem()
    web = Location(f"{front.url}/{root}/unet")
    origin = open_origin(web, patience=EACH_TIME)
    assert isinstance(source_of(origin), ObstoreSource)
    front.faults = iter([503, TRUNCATED])
    assert read(origin, "weights.safetensors", 7, 77) == WEIGHTS[7:77]
    etag = filesystem.info(f"{root}/{UNET}")["ETag"].strip('"')
    assert read(origin, "weights.safetensors", 7, 77, f"etag:{etag}") == WEIGHTS[7:77]
    with pytest.raises(OriginFailed, match="changed"):
        read(origin, "weights.safetensors", 7, 77, "etag:another")
    assert isinstance(source_of(open_origin(Location(f"{web.url}?X-Amz-Signature=hunter2"))), FsspecSource)

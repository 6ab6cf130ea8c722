"""Origins that are no S3 bucket of a server's own: other filesystems, other clouds, Amazon's regions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error

from pressrun.location import Location
from pressrun.models.listing import list_model
from workers.cache.cloud_stores import azure_store, google_store
from workers.cache.origin import Origin, OriginFailed, Patience, open_origin
from workers.cache.s3_store import _place_of, s3_store
from workers.cache.source import SourceUnreached

WEIGHTS = os.urandom(300_000)
FILES = {"unet/weights.safetensors": WEIGHTS, "vae/a file (ü) + 100%#1.bin": WEIGHTS[::-1], "config.json": b"{}"}
UNET = "unet/weights.safetensors"
SECRET = "test-secret"
EACH_TIME = Patience(sleep=lambda _: None)


def read(origin: Origin, path: str, start: int, stop: int, digest: str = "") -> bytes:
    into = bytearray(stop - start)
    origin.read(path, start, digest, memoryview(into))
    return bytes(into)


@pytest.fixture
def memory() -> Iterator[Location]:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe({f"/origin/paint/{name}": content for name, content in FILES.items()})
    yield Location("memory://origin/paint")
    filesystem.rm("/origin", recursive=True)


def test_other_filesystems_are_read_by_fsspec(memory: Location, tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / UNET).write_bytes(WEIGHTS)
    for location in (memory, Location(str(tmp_path)), Location(f"file://{tmp_path}")):
        origin, digest = open_origin(location, patience=EACH_TIME), list_model(location).digest(UNET)
        assert read(origin, UNET, 100, 299_999, digest) == WEIGHTS[100:299_999]
        with pytest.raises(OriginFailed, match="10 bytes came, 20 were asked for"):
            read(origin, UNET, 299_990, 300_010, digest)
        with pytest.raises(OriginFailed, match="FileNotFoundError, at attempt 1"):
            read(origin, "none.bin", 0, 9)


def test_a_file_overwritten_on_another_filesystem_is_refused_as_changed(memory: Location) -> None:
    origin, digest = open_origin(memory), list_model(memory).digest(UNET)
    fsspec.filesystem("memory").pipe(f"/origin/paint/{UNET}", WEIGHTS[::-1])
    with pytest.raises(OriginFailed, match="changed after the run was planned"):
        read(origin, UNET, 0, 9, digest)


def test_a_filesystem_without_its_package_is_told_without_its_options() -> None:
    with pytest.raises(OriginFailed, match="the filesystem's package") as caught:
        open_origin(Location("nowhere://x", {"secret": SECRET}))
    assert SECRET not in caught.value.reason


def test_azure_containers_need_an_account_and_one_way_of_signing(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "a2V5" * 8
    for options in (
        {"account_name": "studio", "account_key": key},
        {"account_name": "studio", "sas_token": "?sv=2020&sig=abc"},
        {"account_name": "studio", "tenant_id": "t", "client_id": "c", "client_secret": SECRET},
        {"account_name": "studio", "anon": True},
    ):
        store = azure_store("models", options)
        assert store is not None
        assert store.config["account_name"] == "studio"
        assert (store.config["skip_signature"] == "true") == ("anon" in options)
    for options in ({}, {"account_name": "studio"}, {"account_name": "studio", "account_key": key, "sas_token": "x"}):
        assert azure_store("models", options) is None
    assert azure_store("models", {"connection_string": SECRET}) is None
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "of somebody else")
    assert azure_store("models", {"account_name": "studio", "account_key": key}) is None


def test_google_buckets_are_signed_with_what_the_filesystem_found() -> None:
    expiry = datetime(2030, 1, 1)
    found = SimpleNamespace(token="first", expiry=expiry)
    held = SimpleNamespace(credentials=found, maybe_refresh=lambda: setattr(found, "token", "renewed"))
    filesystem = SimpleNamespace(credentials=held, base="https://storage.googleapis.com/storage/v1/")
    store = google_store(filesystem, "models", {"project": "studio"})
    assert store is not None
    assert store.credential_provider() == {"token": "renewed", "expires_at": expiry.replace(tzinfo=UTC)}
    assert google_store(filesystem, "models", {"requester_pays": True}) is None
    held.credentials = None
    anonymous = google_store(filesystem, "models", {"token": "anon"})
    assert anonymous is not None
    assert anonymous.config["skip_signature"] == "true"
    filesystem.base = "http://emulator:4443/storage/v1/"
    assert google_store(filesystem, "models", {}) is None


def test_a_bucket_of_amazon_is_asked_for_its_own_region() -> None:
    headers = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}

    def place(endpoint: str) -> tuple[str, str]:
        meta = SimpleNamespace(endpoint_url=endpoint, region_name=None)
        return _place_of(SimpleNamespace(s3=SimpleNamespace(meta=meta), call_s3=lambda *_, **__: headers), "models")

    assert place("https://s3.amazonaws.com") == ("https://s3.eu-west-1.amazonaws.com", "eu-west-1")
    assert place("https://s3.us-east-2.amazonaws.com") == ("https://s3.eu-west-1.amazonaws.com", "eu-west-1")
    assert place("https://minio.studio:9000") == ("https://minio.studio:9000", "us-east-1")


@pytest.mark.parametrize(
    ("headers", "options", "region"),
    [
        ({"x-amz-bucket-region": "eu-west-1"}, {"region_name": "us-west-2"}, "eu-west-1"),
        ({}, {"region_name": "us-west-2"}, "us-west-2"),
        ({}, {}, None),
    ],
)
def test_a_bucket_that_may_not_be_looked_at_is_read_all_the_same(
    headers: dict[str, str], options: dict[str, str], region: str | None
) -> None:
    """As a policy has it that allows to list one prefix only; the answer is what S3 sends, as s3fs passes it on."""
    response: Any = {"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPStatusCode": 403, "HTTPHeaders": headers}}

    def call_s3(*_: object, **__: object) -> None:
        raise translate_boto_error(ClientError(response, "HeadBucket"))

    meta = SimpleNamespace(endpoint_url="https://s3.amazonaws.com", region_name=None)
    filesystem = SimpleNamespace(s3=SimpleNamespace(meta=meta), call_s3=call_s3, client_kwargs=options)
    assert _place_of(filesystem, "models") == (region and (f"https://s3.{region}.amazonaws.com", region))


def test_a_bucket_whose_region_nobody_tells_is_left_to_fsspec() -> None:
    def call_s3(*_: object, **__: object) -> None:
        raise ConnectionResetError

    meta = SimpleNamespace(endpoint_url="https://s3.amazonaws.com", region_name=None)
    filesystem = SimpleNamespace(s3=SimpleNamespace(meta=meta), call_s3=call_s3, client_kwargs={}, connect=lambda: None)
    assert s3_store(filesystem, "models", {}) is None


def test_an_origin_that_answered_this_host_before_is_asked_again() -> None:
    asked: list[int] = []

    class Unsteady:
        def read_once(self, path: str, start: int, digest: str, into: memoryview) -> None:
            asked.append(start)
            if 1 < len(asked) < 5:
                raise SourceUnreached("connect")

    origin = Origin(Location("s3://models/paint"), Unsteady(), EACH_TIME)
    for start in (0, 9):
        read(origin, UNET, start, start + 9)
    assert asked == [0, 9, 9, 9, 9]

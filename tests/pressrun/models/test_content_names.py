"""An ETag tells that bytes are the same only where it can be relied on."""

from __future__ import annotations

from typing import Any

import pytest

from pressrun.cache.chunk_manifest import cut
from pressrun.location import Location
from pressrun.models.content_names import store_of
from pressrun.models.diffusers_folder import ModelFile, revision_of
from pressrun.models.listing import ModelListing

FILES = (ModelFile("unet/weights.safetensors", 9, "etag:abc"),)
MINIO = {"endpoint_url": "https://minio.studio:9000"}


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)


def names(url: str, options: dict[str, Any]) -> tuple[str, str]:
    location = Location(url, options)
    return revision_of(location, FILES), cut(location, "", FILES).files[0].content


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.amazonaws.com",
        "https://s3.eu-west-1.amazonaws.com/",
        "https://s3-us-west-2.amazonaws.com",
        "https://s3.dualstack.us-gov-west-1.amazonaws.com",
        "https://s3.cn-north-1.amazonaws.com.cn",
    ],
)
def test_in_buckets_of_amazon_files_of_one_etag_are_the_same_everywhere(endpoint: str) -> None:
    assert names("s3://one/paint", {}) == names("s3://two/copy", {"endpoint_url": endpoint})


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://10.0.0.7:9000",
        "https://s3.amazonaws.com.evil.example",
        "https://s3.amazonaws.com:8443",
        "https://ec2-3-4-5-6.eu-west-1.compute.amazonaws.com",
        "https://s3-models-1234567890.us-east-1.elb.amazonaws.com",
        "https://abc.execute-api.us-east-1.amazonaws.com",
    ],
)
def test_a_server_of_somebodys_own_cannot_name_what_lies_in_another(endpoint: str) -> None:
    for options in ({"endpoint_url": endpoint}, {"client_kwargs": {"endpoint_url": endpoint}}):
        own = names("s3://models/paint", options)
        for others in (names("s3://models/paint", {}), names("s3://models/paint", MINIO)):
            assert not set(own) & set(others)


def test_files_of_one_etag_are_the_same_within_a_bucket_and_not_in_another() -> None:
    assert names("s3://models/paint", MINIO) == names("s3://models/copy", MINIO)
    assert not set(names("s3://models/paint", MINIO)) & set(names("s3://others/paint", MINIO))


def test_an_endpoint_counts_the_same_wherever_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    by_option = names("s3://models/paint", MINIO)
    assert names("simplecache::s3://models/paint", {"s3": MINIO}) == by_option
    monkeypatch.setenv("AWS_ENDPOINT_URL", MINIO["endpoint_url"])
    assert names("s3://models/paint", {}) == by_option
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.amazonaws.com")
    assert store_of(Location("s3://models/paint")) == ""


@pytest.mark.parametrize("etag", ['""', '"00000000000000000000000000000000"', "0-0", None])
def test_an_etag_of_nothing_names_nothing(etag: str | None) -> None:
    info = {"size": 9, "ETag": etag, "VersionId": "null", "LastModified": "2026-01-01"}
    listing = ModelListing(Location("s3://models/paint", MINIO), None, "models/paint", {"unet/a.bin": info})  # type: ignore[arg-type]
    assert listing.digest("unet/a.bin") == "size:9,time:2026-01-01"

"""An ETag names contents, by whatever name its store is reached; one that says nothing names none."""

from __future__ import annotations

from typing import Any

import pytest

from pressrun.cache.chunk_manifest import cut
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFile, revision_of
from pressrun.models.listing import ModelListing

FILES = (ModelFile("unet/weights.safetensors", 9, "etag:abc"),)


def names(url: str, options: dict[str, Any]) -> tuple[str, str]:
    location = Location(url, options)
    return revision_of(location, FILES), cut(location, "", FILES).files[0].content


def test_a_model_has_one_name_however_its_store_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    from_outside = names("s3://models/paint", {"endpoint_url": "https://minio.studio:9000"})
    assert names("s3://models/paint", {"client_kwargs": {"endpoint_url": "http://10.0.0.7:9000"}}) == from_outside
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    assert names("s3://models/paint", {}) == from_outside


@pytest.mark.parametrize("etag", ['""', '"00000000000000000000000000000000"', "0-0", None])
def test_an_etag_of_nothing_names_nothing(etag: str | None) -> None:
    info = {"size": 9, "ETag": etag, "VersionId": "null", "LastModified": "2026-01-01"}
    listing = ModelListing(Location("s3://models/paint"), None, "models/paint", {"unet/a.bin": info})  # type: ignore[arg-type]
    assert listing.digest("unet/a.bin") == "size:9,time:2026-01-01"

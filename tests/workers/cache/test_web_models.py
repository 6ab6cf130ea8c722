"""Models and adapters that a web server has, whose ETags name no contents."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pressrun.cache.chunk_manifest import cut
from pressrun.location import Location
from pressrun.models.any_folder import read_any
from pressrun.models.diffusers_folder import ModelFile
from tests import runs
from tests.adapters import write_adapter
from tests.web_server import web_server
from workers.model_cache import ensure_local


def test_adapters_of_one_size_and_time_on_a_web_server_are_not_taken_for_each_other(tmp_path: Path) -> None:
    names = ("ink", "wash")
    for seed, name in enumerate(names):
        os.utime(write_adapter(tmp_path / "web" / f"{name}.safetensors", runs.MODEL, seed=seed), (1e9, 1e9))
    revisions = set()
    with web_server(tmp_path / "web") as url:
        for name in names:
            location = Location(f"{url}/{name}.safetensors")
            facts = read_any(location)
            assert facts.files[0].digest.startswith("etag:3b9aca00-")
            brought = ensure_local(location, facts, tmp_path / "cache")
            served = (tmp_path / "web" / f"{name}.safetensors").read_bytes()
            assert (brought.path / f"{name}.safetensors").read_bytes() == served
            revisions.add(facts.revision)
    assert len(revisions) == 2


@pytest.mark.parametrize(
    ("one", "other", "digest", "same"),
    [
        ("s3://a/m", "s3://b/n", "etag:1", True),
        ("simplecache::s3a://a/m", "s3://b/n", "etag:1", True),
        ("gs://a/m", "gs://b/n", "md5hash:1", True),
        ("gs://a/m", "gs://b/n", "etag:1", False),
        ("az://a/m", "az://b/n", "content_md5:1", True),
        ("https://a/m", "https://a/n", "etag:1", False),
        ("https://a/m", "https://a/m/", "etag:1", True),
        ("https://a/m?of=ink", "https://a/m?of=wash", "etag:1", False),
        ("sftp://a/m", "sftp://a/n", "size:1,time:1", False),
    ],
)
def test_contents_are_known_again_in_another_place_where_digests_are_made_of_them(
    one: str, other: str, digest: str, same: bool
) -> None:
    files = [ModelFile("unet/weights.safetensors", 1, digest)]
    contents = {cut(Location(url), "r", files).files[0].content for url in (one, other)}
    assert (len(contents) == 1) == same

"""Models and adapters that a web server has, whose ETags name no contents."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pressrun.cache.chunk_manifest import cut
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.any_folder import read_any
from pressrun.models.diffusers_folder import ModelFile
from tests import runs
from tests.adapters import write_adapter
from tests.pressrun.models.small_model import write_model
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


def test_a_model_in_a_folder_of_a_web_server_is_brought_and_is_another_one_at_another_url(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "web" / "paint")
    shutil.copytree(folder, tmp_path / "web" / "tuned")  # with the times of the files
    with web_server(tmp_path / "web") as url:
        location = Location(f"{url}/paint")
        facts = read_any(location)
        brought = ensure_local(location, facts, tmp_path / "cache")
        for file in facts.files:
            assert (brought.path / file.path).read_bytes() == (folder / file.path).read_bytes()
        assert read_any(Location(f"{url}/paint/")).revision == facts.revision
        assert read_any(Location(f"{url}/tuned")).revision != facts.revision


@pytest.mark.parametrize(
    ("lack", "reason"),
    [
        ({"sizes": False}, "size of .* is not told by its server"),
        ({"ranges": False}, "8 were asked for.* serves ranges"),
    ],
)
def test_a_web_server_that_cannot_serve_models_is_named_with_what_it_lacks(
    lack: dict[str, bool], reason: str, tmp_path: Path
) -> None:
    write_model(tmp_path / "paint")
    with web_server(tmp_path, **lack) as url, pytest.raises(InvalidModel, match=reason):
        read_any(Location(f"{url}/paint"))


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

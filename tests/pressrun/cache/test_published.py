"""Hashes beside a model: used for the files that were hashed, wherever they were carried, and for no others."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from pressrun.cache import publishing
from pressrun.cache.chunk_manifest import MIB, hash_of
from pressrun.cache.published import manifest_for
from pressrun.cache.publishing import publish
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import read_adapter
from pressrun.models.diffusers_folder import read_model
from pressrun.models.embedder_folder import read_embedder
from pressrun.models.listing import PUBLISHED_NAME
from tests import runs
from tests.adapters import write_adapter
from tests.pressrun.models.small_model import WEIGHTS, safetensors, write_model
from tests.s3_server import S3Server

UNET = f"unet/{WEIGHTS}"
LARGE = 9 * MIB


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Give a small model with a weight file of two chunks."""
    folder = write_model(tmp_path / "paint")
    (folder / UNET).write_bytes(safetensors(LARGE))
    return folder


@pytest.fixture
def bucket(s3_server: S3Server) -> Location:
    return Location(f"{s3_server.make_bucket()}/paint", s3_server.storage_options)


def upload(folder: Path, bucket: Location) -> None:
    """Upload a folder as Amazon's own tools do, large files in parts."""
    name, _, prefix = bucket.url.removeprefix("s3://").partition("/")
    client = boto3.client(
        "s3",
        endpoint_url=bucket.options["endpoint_url"],
        aws_access_key_id=bucket.options["key"],
        aws_secret_access_key=bucket.options["secret"],
        region_name="us-east-1",
    )
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), name, f"{prefix}/{path.relative_to(folder).as_posix()}")


def hashed(location: Location, facts: Any = None) -> dict[str, bool]:
    """Return for each file whether its hashes are known."""
    facts = facts or read_model(location)
    return {file.path: bool(file.hashes) for file in manifest_for(location, facts).files}


def test_each_chunk_has_the_hash_of_its_bytes_and_the_revision_stays(model: Path) -> None:
    location = Location(str(model))
    before = read_model(location)
    assert not any(hashed(location).values())
    publication = publish(location)
    assert read_model(location) == before
    manifest = manifest_for(location, before)
    assert manifest == publication.manifest
    for chunk in manifest.chunks():
        data = (model / chunk.path).read_bytes()[chunk.start : chunk.stop]
        assert chunk.xxh3 == hash_of(data)
    assert len([chunk for chunk in manifest.chunks() if chunk.path == UNET]) == 2
    assert {path.name for path in model.iterdir() if path.name.startswith(".")} == set()


def test_embedders_and_adapters_are_published_too_and_keep_their_revisions(tmp_path: Path) -> None:
    embedder = Location(str(shutil.copytree(runs.ROOT / "models" / "shapes-clip", tmp_path / "clip")))
    files = [write_adapter(tmp_path / "adapters" / f"{name}.safetensors", runs.MODEL) for name in ("ink", "wash")]
    folder = write_adapter(tmp_path / "alone" / "ink.safetensors", runs.MODEL).parent
    places: list[tuple[Location, Callable[[Location], Any]]] = [
        (embedder, read_embedder),
        *((Location(str(place)), lambda one: read_adapter("ink", one)[0]) for place in (*files, folder)),
    ]
    for location, read in places:
        before = read(location)
        publish(location)
        assert read(location) == before
        assert all(hashed(location, before).values())


def test_what_was_published_in_a_bucket_is_used_there(
    tmp_path: Path, bucket: Location, caplog: pytest.LogCaptureFixture
) -> None:
    upload(write_model(tmp_path / "paint"), bucket)
    before = read_model(bucket)
    publish(bucket)
    assert read_model(bucket) == before
    assert all(hashed(bucket).values())
    assert not caplog.records


def test_a_folder_published_on_a_disk_is_known_again_in_the_bucket_it_is_uploaded_to(
    model: Path, bucket: Location, caplog: pytest.LogCaptureFixture
) -> None:
    local = publish(Location(str(model))).manifest
    upload(model, bucket)
    assert bucket.open_filesystem()[0].info(f"{bucket.url}/{UNET}")["ETag"].endswith('-2"')
    manifest = manifest_for(bucket, read_model(bucket))
    assert [chunk.chunk_id for chunk in manifest.chunks()] == [chunk.chunk_id for chunk in local.chunks()]
    assert not caplog.records


def test_hashes_of_a_base_model_beside_its_fine_tune_are_passed_over_for_the_files_that_differ(
    model: Path, bucket: Location, caplog: pytest.LogCaptureFixture
) -> None:
    publish(Location(str(model)))
    tuned = bytearray((model / UNET).read_bytes())
    tuned[-1] ^= 1
    (model / UNET).write_bytes(tuned)
    upload(model, bucket)
    for location in (Location(str(model)), bucket):
        caplog.clear()
        found = hashed(location)
        assert [path for path, known in found.items() if not known] == [UNET]
        (record,) = caplog.records
        assert f"1 of the model's {len(found)} files: {UNET} is " in record.message
        assert f"run `pressrun model publish {location}` again" in record.message
    publish(bucket)
    assert all(hashed(bucket).values())


def test_files_of_another_size_and_new_ones_are_told(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    location = Location(str(model))
    publish(location)
    (model / "tokenizer" / "vocab.json").write_text('{"a": 1}')
    assert not hashed(location)["tokenizer/vocab.json"]
    assert "tokenizer/vocab.json has 8 bytes, and had 2" in caplog.text
    (model / "tokenizer" / "added_tokens.json").write_text("{}")
    caplog.clear()
    assert not hashed(location)["tokenizer/added_tokens.json"]
    assert "tokenizer/added_tokens.json has no hashes there" in caplog.text


@pytest.mark.parametrize("chunk_bytes", [MIB, LARGE + 1024 * MIB])
def test_hashes_of_chunks_of_another_size_than_hosts_make_are_passed_over(
    chunk_bytes: int, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    location = Location(str(model))
    publish(location)
    told = json.loads((model / PUBLISHED_NAME).read_text())
    (unet,) = (file for file in told["files"] if file["path"] == UNET)
    unet |= {"chunk_bytes": chunk_bytes, "xxh3": ["0" * 32] * -(-unet["size_bytes"] // chunk_bytes)}
    (model / PUBLISHED_NAME).write_text(json.dumps(told))
    manifest = manifest_for(location, read_model(location))
    assert {file.path for file in manifest.files if not file.hashes} == {UNET}
    assert max(chunk.size_bytes for chunk in manifest.chunks()) == 8 * MIB
    assert f"{UNET} is cut into chunks of 8388608 bytes, and was into chunks of {chunk_bytes}" in caplog.text


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"[]", b'{"version": 2}', b'{"version": 1, "files": [{}]}'])
def test_a_damaged_file_is_passed_over_and_published_anew(
    damage: bytes, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    location = Location(str(model))
    (model / PUBLISHED_NAME).write_bytes(damage)
    assert not any(hashed(location).values())
    assert "publish again" in caplog.text
    publish(location)
    assert all(hashed(location).values())


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Location:
    """Give a listed model whose files cannot be read, by an error that holds a secret."""
    filesystem = MemoryFileSystem()
    clip = [path for path in (runs.ROOT / "models" / "shapes-clip").iterdir() if path.is_file()]
    filesystem.pipe({f"/closed/{path.name}": path.read_bytes() for path in clip})

    def refuse(self: Any, path: str, **options: Any) -> bytes:
        raise PermissionError("https://bucket/x?X-Amz-Signature=hunter2")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    return Location("memory://closed")


def test_hashes_that_cannot_be_read_are_done_without(
    unreadable: Location, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not any(hashed(unreadable, read_model(Location(str(model)))).values())
    assert "memory://closed cannot be read (PermissionError)" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_model_that_cannot_be_read_is_not_published_and_shows_no_secret(unreadable: Location) -> None:
    with pytest.raises(InvalidModel, match="PermissionError") as caught:
        publish(unreadable)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_changes_while_it_is_hashed_is_refused_and_nothing_is_published(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = LocalFileSystem.cat_file

    def cat_file(self: Any, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        data: bytes = read(self, path, start, end, **options)
        if path.endswith(UNET) and start:
            status = (model / UNET).stat()
            os.utime(model / UNET, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        return data

    monkeypatch.setattr(LocalFileSystem, "cat_file", cat_file)
    with pytest.raises(InvalidModel, match=f"{UNET} of .* changed while it was hashed"):
        publish(Location(str(model)))
    assert not (model / PUBLISHED_NAME).exists()


def test_memory_holds_a_chunk_a_thread_however_large_the_file(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_THREADS", 1)
    (model / UNET).write_bytes(safetensors(48 * MIB))
    tracemalloc.start()
    try:
        publish(Location(str(model)))
        assert tracemalloc.get_traced_memory()[1] < 36 * MIB
    finally:
        tracemalloc.stop()


def test_a_folder_with_nothing_to_load_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InvalidModel, match=r"no model_index\.json"):
        publish(Location(str(tmp_path)))


def test_the_published_file_is_plain_json_that_names_every_file(model: Path) -> None:
    publish(Location(str(model)))
    told = json.loads((model / PUBLISHED_NAME).read_text())
    assert {file["path"] for file in told["files"]} == {file.path for file in read_model(Location(str(model))).files}

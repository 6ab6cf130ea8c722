from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import s3fs
from prefect.types import SecretDict

from blocks.storage import CollectionStore, ModelStore
from pressrun.carried import CARRIED_MODEL
from pressrun.errors import InvalidModel
from pressrun.location import Location
from tests.s3_server import S3Server

SECRET = "do-not-show-me-4711"
STORES = (ModelStore, CollectionStore)


def bucket_block(kind: type[Any], server: S3Server) -> Any:
    options = {name: value for name, value in server.storage_options.items() if name not in ("key", "secret")}
    credentials = SecretDict({"key": "test", "secret": SECRET})
    return kind(url=server.make_bucket(), options=options, credentials=credentials)


def names_in(server: S3Server, url: str) -> list[str]:
    return list(s3fs.S3FileSystem(**server.storage_options).find(url.removeprefix("s3://")))


def test_a_model_in_a_bucket_is_read_with_the_credentials_of_its_block(s3_server: S3Server) -> None:
    block = bucket_block(ModelStore, s3_server)
    files = s3fs.S3FileSystem(**s3_server.storage_options)
    files.put(str(CARRIED_MODEL), f"{block.url.removeprefix('s3://')}/shapes", recursive=True)
    line = block.check("shapes")
    assert "'shapes'" in line
    assert "64 x 64 px" in line


def test_a_local_model_is_checked_too() -> None:
    assert "MB of weights" in ModelStore(url=str(CARRIED_MODEL.parent)).check("shapes")


def test_a_store_without_the_model_says_which_one_it_looked_for(s3_server: S3Server) -> None:
    block = bucket_block(ModelStore, s3_server)
    with pytest.raises(InvalidModel, match="nowhere"):
        block.check("nowhere")


def test_a_bucket_that_takes_objects_is_checked_and_left_as_it_was(s3_server: S3Server) -> None:
    block = bucket_block(CollectionStore, s3_server)
    assert "can be written, read and deleted from" in block.check()
    assert names_in(s3_server, block.url) == []


def test_a_folder_is_checked_and_left_as_it_was(tmp_path: Path) -> None:
    CollectionStore(url=str(tmp_path / "new")).check()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_bucket_that_is_not_there_is_an_error(s3_server: S3Server) -> None:
    block = bucket_block(CollectionStore, s3_server)
    missing = block.model_copy(update={"url": "s3://there-is-no-such-bucket"})
    with pytest.raises(OSError, match="bucket"):
        missing.check()


def test_a_path_is_below_the_url_and_its_options_hold_the_credentials() -> None:
    block = CollectionStore(url="s3://studio/a/", options={"anon": False}, credentials=SecretDict({"key": "k"}))
    assert block.location() == Location("s3://studio/a/", {"anon": False, "key": "k"})
    assert block.location("/summer/") == Location("s3://studio/a/summer", {"anon": False, "key": "k"})


@pytest.mark.parametrize("kind", STORES)
def test_no_way_of_showing_a_block_shows_its_credentials(kind: type[ModelStore | CollectionStore]) -> None:
    block = kind(url="s3://studio", credentials=SecretDict({"key": "test", "secret": SECRET}))
    shown = [repr(block), str(block), block.model_dump_json(), json.dumps(block.model_dump(mode="json"))]
    shown += [repr(block.location("x")), str(block.location("x"))]
    assert all(SECRET not in text for text in shown)
    assert block.location().options["secret"] == SECRET


def test_checking_a_store_disturbs_nobody_who_writes_there(tmp_path: Path) -> None:
    foreign = tmp_path / ".tmp" / "half-written"
    foreign.parent.mkdir()
    foreign.write_bytes(b"...")
    CollectionStore(url=str(tmp_path)).check()
    assert foreign.read_bytes() == b"..."

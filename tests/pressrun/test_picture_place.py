"""Pictures that rows name, in their own collection or in another one."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import s3fs

from pressrun.errors import InvalidCollection
from pressrun.location import Location
from pressrun.picture_place import address, home_of, is_reference, read_picture
from pressrun.storage import Store

NAME = "images/ab/abc.png"


def test_a_name_is_read_from_the_collection_and_an_address_from_where_it_leads(
    location: Location, tmp_path: Path
) -> None:
    library = Store(location)
    library.write(NAME, b"theirs")
    own = Store(location.child("own"))  # with the same credentials
    own.write(NAME, b"ours")
    path = address(library, NAME)
    assert (is_reference(NAME), is_reference(path)) == (False, True)
    assert (read_picture(own, NAME), read_picture(own, path)) == (b"ours", b"theirs")
    assert address(own, path) == path
    library.delete([NAME])
    with pytest.raises(FileNotFoundError, match=NAME):
        read_picture(own, path)


def test_a_reference_to_another_kind_of_place_takes_the_credentials_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Store(Location(str(tmp_path), {"key": "ours", "secret": "ours"}))
    library = Store(Location(f"memory://{uuid.uuid4().hex}"))
    library.write(NAME, b"theirs")
    assert read_picture(own, address(library, NAME)) == b"theirs"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()  # one that another test opened may have found credentials
    with pytest.raises(InvalidCollection, match=r"s3://elsewhere cannot be used \(NoCredentialsError"):
        read_picture(own, f"s3://elsewhere/{NAME}")


def test_an_address_holds_no_credentials() -> None:
    store = Store(Location("ftp://user:secret@host/out/", {"password": "secret"}))
    assert address(store, NAME) == f"ftp://host/out/{NAME}"


def test_credentials_for_one_host_are_not_sent_to_another() -> None:
    own = Store(Location("https://ours/summer", {"headers": {"Authorization": "Bearer t"}}))
    kept, name = home_of(own, f"https://ours/winter/{NAME}")
    assert (kept.location, name) == (Location("https://ours/winter", own.location.options), NAME)
    elsewhere, _ = home_of(own, f"https://elsewhere/winter/{NAME}")
    assert elsewhere.location == Location("https://elsewhere/winter")

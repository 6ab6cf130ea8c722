"""Which collections pictures are taken over from, and which are refused or passed over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pressrun import layout
from pressrun.collection import Identity, join_collection
from pressrun.errors import InvalidCollection, InvalidJob
from pressrun.job import Reuse
from pressrun.library import Library, find_library
from pressrun.location import Location
from pressrun.storage import Store

WANTED = Identity("e" * 32, 4, tenant="acme")
MISFITS = [
    (replace(WANTED, embedder="f" * 32), "its embedder is ffffffffffff, the job's is eeeeeeeeeeee; use the same"),
    (replace(WANTED, embedder="", embedding_size=0), "its embedder is none, the job's is eeeeeeeeeeee"),
    (replace(WANTED, image_ending="webp"), "its image format is webp, the job's is png"),
    (replace(WANTED, tenant="beta"), "its tenant is beta, the job's is acme; allow it with --reuse-across-tenants or"),
    (replace(WANTED, tenant=""), "its tenant is none, the job's is acme"),
]


@pytest.fixture
def own(location: Location) -> Location:
    return location.child("shelf/own")


def collection(own: Location, name: str, identity: Identity = WANTED) -> Location:
    place = Location(own.url.removesuffix("own") + name, own.options)
    join_collection(Store(place), identity)
    return place


def shelf(own: Location) -> Location:
    return Location(own.url.removesuffix("/own"), own.options)


def find(own: Location, *places: Location, **terms: Any) -> Library:
    return find_library(Reuse(places, **terms), WANTED, own)


def test_a_collection_is_a_library_and_so_is_a_folder_of_several(own: Location) -> None:
    first, second = collection(own, "a"), collection(own, "b")
    collection(own, "c/deeper")  # no direct child
    Store(shelf(own)).write("notes/read-me.txt", b"no collection")
    assert find(own, second) == Library((second,))
    assert find(own, shelf(own)) == Library((first, second))
    assert find(own, second, shelf(own)) == Library((second, first))
    assert find(own) == Library()


def test_the_jobs_own_collection_is_never_asked(own: Location) -> None:
    other = collection(own, "other")
    join_collection(Store(own), WANTED)
    assert find(own, shelf(own)) == Library((other,))
    assert find(own, own) == Library()


@pytest.mark.parametrize(("identity", "reason"), MISFITS)
def test_a_collection_named_by_itself_that_does_not_fit_is_refused(
    tmp_path: Path, identity: Identity, reason: str
) -> None:
    own = Location(str(tmp_path / "own"))
    with pytest.raises(InvalidJob, match=reason):
        find(own, collection(own, "other", identity))


def test_in_a_folder_of_several_those_that_do_not_fit_are_passed_over_and_told(own: Location) -> None:
    fitting = collection(own, "fitting")
    names = [str(collection(own, f"other-{number}", identity)) for number, (identity, _) in enumerate(MISFITS)]
    damaged = collection(own, "damaged")
    Store(damaged).write(layout.COLLECTION, b"{}")
    found = find(own, shelf(own))
    assert found.collections == (fitting,)
    assert found.passed_over == {
        "not readable": (str(damaged),),
        "embedder": tuple(names[:2]),
        "image format": (names[2],),
        "tenant": tuple(names[3:]),
    }
    assert "passed over for what does not fit: 6 (" in found.refusal
    assert f"tenant: 2, as {names[3]}" in found.refusal
    assert "--reuse-across-tenants" in found.refusal


def test_other_tenants_are_asked_only_by_explicit_choice(tmp_path: Path) -> None:
    own = Location(str(tmp_path / "own"))
    other = collection(own, "other", replace(WANTED, tenant="beta"))
    assert find(own, other, across_tenants=True) == Library((other,))
    assert find(own, shelf(own), across_tenants=True) == Library((other,))
    assert find(own, shelf(own)).collections == ()


@pytest.mark.parametrize("name", ["nothing", ""])
def test_a_place_without_a_collection_is_no_library(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidCollection, match=r"holds no collection \(no collection.json\), and no folder"):
        find(Location(str(tmp_path / "own")), Location(str(tmp_path / name)))


def test_a_bucket_cannot_refer_to_pictures_of_one_host(tmp_path: Path) -> None:
    place = collection(Location(str(tmp_path / "own")), "other")
    with pytest.raises(InvalidJob, match=r"s3://b/own cannot refer to pictures in .*other: .* copy them"):
        find(Location("s3://b/own"), place, how="reference")


def test_a_collection_belongs_to_one_tenant_for_good(tmp_path: Path) -> None:
    store = Store(Location(str(tmp_path)))
    join_collection(store, WANTED)
    for tenant, name in (("beta", "beta"), ("", "none")):
        with pytest.raises(InvalidCollection, match=f"belongs to the tenant acme, the job to {name}; .*--tenant"):
            join_collection(store, replace(WANTED, tenant=tenant))


def test_a_collection_from_before_there_were_tenants_is_nobodys(tmp_path: Path) -> None:
    store = Store(Location(str(tmp_path)))
    nobodys = replace(WANTED, tenant="")
    join_collection(store, nobodys)
    record = store.read_record(layout.COLLECTION)
    del record["tenant"]
    store.write(layout.COLLECTION, json.dumps(record).encode())
    assert join_collection(store, nobodys) == nobodys

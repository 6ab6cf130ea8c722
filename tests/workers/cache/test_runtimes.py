"""Each way by which a model comes to a host, on real files."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from pressrun.cache.options import CacheOptions, CacheRuntime
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter, read_adapter
from pressrun.models.diffusers_folder import ModelFacts, read_model
from tests import runs
from tests.adapters import write_adapter
from workers.cache.runtimes import bring
from workers.order import PrintOrder

URL = "memory://mounted/models"


@pytest.fixture
def origin() -> Iterator[Location]:
    """Give the carried model as a remote one."""
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(runs.MODEL), "/mounted/models/shapes", recursive=True)
    yield Location(f"{URL}/shapes")
    filesystem.rm("/mounted", recursive=True)


def order(tmp_path: Path, model: Location, runtime: CacheRuntime) -> PrintOrder:
    mounts = {URL: str(tmp_path / "mnt")} if runtime == "mount" else {}
    return PrintOrder(
        run_id="run-1",
        collection=Location(str(tmp_path / "out")),
        model=model,
        facts=read_model(model),
        embedder=None,
        embedder_facts=None,
        embedding_size=0,
        cache_folder=str(tmp_path / "cache"),
        cache=CacheOptions(runtime, mounts),
    )


def sizes(folder: Path, facts: ModelFacts) -> list[int]:
    return [(folder / file.path).stat().st_size for file in facts.files]


@pytest.mark.parametrize("runtime", ["peer", "none"])
def test_a_remote_model_comes_into_the_cache_folder_once(
    runtime: CacheRuntime, origin: Location, tmp_path: Path
) -> None:
    wanted = order(tmp_path, origin, runtime)
    first, again = (bring(wanted, wanted.model, wanted.facts) for _ in range(2))
    assert first.path == again.path
    assert first.path.is_relative_to(tmp_path / "cache")
    assert sizes(first.path, wanted.facts) == [file.size_bytes for file in wanted.facts.files]
    assert (first.origin_bytes, again.origin_bytes) == (sum(file.size_bytes for file in wanted.facts.files), 0)


@pytest.mark.parametrize("runtime", ["peer", "mount", "none"])
def test_a_local_model_is_used_in_place_whatever_the_way(runtime: CacheRuntime, tmp_path: Path) -> None:
    wanted = order(tmp_path, Location(str(runs.MODEL)), runtime)
    assert bring(wanted, wanted.model, wanted.facts).path == runs.MODEL
    assert not (tmp_path / "cache").exists()


def test_a_mounted_model_is_used_in_place_and_nothing_is_copied(origin: Location, tmp_path: Path) -> None:
    shutil.copytree(runs.MODEL, tmp_path / "mnt" / "shapes")
    wanted = order(tmp_path, origin, "mount")
    brought = bring(wanted, wanted.model, wanted.facts)
    assert (brought.path, brought.origin_bytes) == (tmp_path / "mnt" / "shapes", 0)
    assert not (tmp_path / "cache").exists()


def test_a_mounted_file_that_is_missing_or_short_is_told_with_host_file_and_both_sizes(
    origin: Location, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(runs.MODEL, tmp_path / "mnt" / "shapes"))
    wanted = order(tmp_path, origin, "mount")
    largest = max(wanted.facts.files, key=lambda file: file.size_bytes)
    with (folder / largest.path).open("rb+") as file:
        file.truncate(1000)
    told = rf"Host {socket.gethostname()} has 1000 of the {largest.size_bytes} bytes of {folder / largest.path}: "
    with pytest.raises(InvalidModel, match=told):
        bring(wanted, wanted.model, wanted.facts)
    shutil.rmtree(folder)
    others = len(wanted.facts.files) - 1
    with pytest.raises(InvalidModel, match=rf"has no file {folder}/.* \(and {others} more files\).*mounted there"):
        bring(wanted, wanted.model, wanted.facts)


def test_an_adapter_is_mounted_as_a_file_or_as_a_folder_with_one(origin: Location, tmp_path: Path) -> None:
    file = write_adapter(tmp_path / "mnt" / "inks" / "ink.safetensors", runs.MODEL)
    fsspec.filesystem("memory").put(str(file.parent), "/mounted/models/inks", recursive=True)
    wanted = order(tmp_path, origin, "mount")
    for name in ("inks/ink.safetensors", "inks"):
        adapter = adapter_at(Location(f"{URL}/{name}"))
        assert bring(wanted, adapter.location, adapter).path == file.parent


def adapter_at(location: Location) -> Adapter:
    return read_adapter("ink", location)[0]

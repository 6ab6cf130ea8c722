"""`pressrun export` as a person or a script meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments import cli
from pressrun.location import Location
from pressrun.storage import Store
from tests.pressrun.export.reading import READERS, parquet_rows, samples_of
from tests.pressrun.small_collection import make_collection, snapshot

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def collection(tmp_path: Path) -> Store:
    store = Store(Location(str(tmp_path / "out[/bold]")))
    make_collection(store)
    return store


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path / "there [/red]")))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """Give a function that runs `pressrun export` and returns its exit code, output and errors."""

    def say(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.run(["export", *map(str, arguments)])
        except SystemExit as end:
            code = int(str(end.code))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return say


@pytest.mark.parametrize("format", list(READERS), ids=str)
def test_it_tells_what_it_wrote_and_where_then_what_was_there(
    said: Say, collection: Store, there: Store, format: str
) -> None:
    code, out, _ = said(collection.root, there.root, "--format", format, "--embeddings")
    assert code == 0
    assert f"exported: 6 images as {format}" in out
    assert f"  {there.root}" in out.splitlines()
    assert READERS[format](there) == samples_of(collection, embeddings=True)
    before = snapshot(there)
    code, out, _ = said(collection.root, there.root, "--format", format, "--embeddings", "--json")
    record = json.loads(out)
    assert code == 0
    assert (record["format"], record["images"], record["destination"]) == (format, 6, there.root)
    assert record["files_written"] == 0
    assert record["files_held"] > 0
    assert snapshot(there) == before


def test_options_reach_the_export(said: Say, collection: Store, there: Store) -> None:
    chosen = ("--where", "prompt!=star 1", "-w", "prompt!=star 2", "--no-images", "--shard-images", 3)
    assert said(collection.root, there.root, "-f", "parquet", *chosen)[0] == 0
    rows = parquet_rows(there)
    assert sorted(rows.column("prompt").to_pylist()) == ["star 0", "star 3", "star 4", "star 5"]
    assert not {"image", "embedding"} & set(rows.column_names)
    assert there.names("", ".parquet") == ["part-000000.parquet", "part-000001.parquet"]


def test_shards_are_limited_in_megabytes(said: Say, collection: Store, there: Store) -> None:
    assert said(collection.root, there.root, "-f", "webdataset", "--shard-mb", 0.0002)[0] == 0
    assert len(there.names("", ".tar")) == 3  # of two pictures of 77 bytes


@pytest.mark.parametrize(
    ("arguments", "explanation"),
    [
        (("--format", "webdataset", "--where", "nonsense=1"), "no column 'nonsense'"),
        (("--format", "webdataset", "--no-images"), "webdataset is made of pictures"),
        (("--format", "imagefolder", "--shard-images", "5"), "no shards"),
        (("--format", "parquet", "--shard-mb", "0"), "A shard of 0 bytes"),
        (("--format", "zip"), "--format"),
        ((), "--format"),
    ],
)
def test_a_mistake_is_refused_with_its_reason_and_nothing_is_written(
    said: Say, collection: Store, there: Store, arguments: tuple[str, ...], explanation: str
) -> None:
    code, out, err = said(collection.root, there.root, *arguments)
    assert (code, out) == (2, "")
    assert explanation in err
    assert not Path(there.root).exists()


def test_places_that_do_not_fit_are_refused(said: Say, collection: Store, there: Store) -> None:
    code, _, err = said(there.root, collection.root, "-f", "parquet")
    assert code == 2
    assert "not an export" in err
    code, _, err = said(there.root, there.root + "2", "-f", "parquet")
    assert code == 2
    assert "holds no collection" in err


def test_a_missing_picture_is_a_failure_that_names_it(said: Say, collection: Store, there: Store) -> None:
    path = samples_of(collection)[0][0]["path"]
    collection.delete([path])
    code, out, err = said(collection.root, there.root, "-f", "webdataset")
    assert (code, out) == (1, "")
    assert f"error: {path} is missing" in err
    assert there.names("", ".tar") == []

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pressrun import layout, manifest
from pressrun.location import Location
from pressrun.picture_file import FormatName, PictureFormat
from pressrun.picture_place import read_picture
from pressrun.plan import batch_name
from pressrun.storage import Store
from pressrun.tar_shards import Sample, write_samples
from tests.pressrun.small_collection import REVISION, held_ids, ids, make_requests, snapshot
from workers.engines.renderer import Pixels
from workers.publisher import Imprint, publish
from workers.rescue import Rendered

IMPRINT = Imprint("small", REVISION, "run-1", "worker-1", {"engine": "null", "threads": 2})
IN_TARS = replace(IMPRINT, layout="webdataset")


def pixels_of(count: int) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), np.uint8)


def piece_of(*prompts: str, **fields: Any) -> Rendered:
    return Rendered(make_requests(prompts, **fields), pixels_of(len(prompts)), 4)


def request_of(prompt: str) -> dict[str, Any]:
    request: dict[str, Any] = make_requests([prompt]).to_pylist()[0]
    return request


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path)))


def test_runs_and_workers_write_the_same_objects(tmp_path: Path) -> None:
    written = []
    for name in ("one", "other"):
        store = Store(Location(str(tmp_path / name)))
        publish(store, piece_of("a", "b"), Imprint("small", REVISION, name, name, {"device": name}), 0.1, None)
        written.append(snapshot(store))
    assert written[0] == written[1]


def test_rows_say_what_was_written(store: Store) -> None:
    piece = piece_of("a", "b", user_id=["x", None])
    rows = publish(store, piece, IMPRINT, 0.25, None)
    assert rows.schema.equals(manifest.manifest_schema(0))
    assert ids(rows) == ids(piece.requests)
    assert set(snapshot(store)) == {layout.image(image_id) for image_id in ids(rows)}
    for row in rows.to_pylist():
        data = store.read(row["path"])
        assert (row["sha256"], row["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (row["run_id"], row["worker"], row["seconds"], row["batch_size"]) == ("run-1", "worker-1", 0.25, 4)
        assert json.loads(row["provenance"]) == {"engine": "null", "threads": 2}
    assert rows.column("user_id").to_pylist() == ["x", None]


@pytest.mark.parametrize(("name", "ending"), [("webp", "webp"), ("jpeg", "jpg")])
def test_pictures_are_written_in_the_format_asked_for(store: Store, name: FormatName, ending: str) -> None:
    imprint = replace(IMPRINT, picture_format=PictureFormat(name))
    (row,) = publish(store, piece_of("a"), imprint, 0.1, None).to_pylist()
    assert row["path"].endswith(f".{ending}")
    assert Image.open(io.BytesIO(store.read(row["path"]))).format == name.upper()


def test_in_the_tar_layout_a_piece_is_one_object_and_its_rows_lead_to_each_picture(store: Store) -> None:
    piece = piece_of("a", "b")
    rows = publish(store, piece, IN_TARS, 0.25, None)
    assert list(snapshot(store)) == [layout.batch_tar(batch_name(piece.requests, 4))]
    for row, pixels in zip(rows.to_pylist(), piece.pixels, strict=True):
        data = read_picture(store, row["path"])
        assert (row["sha256"], row["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_nothing_is_committed_yet(store: Store) -> None:
    publish(store, piece_of("a"), IMPRINT, 0.1, None)
    assert held_ids(store) == []


def test_each_row_has_the_embedding_of_its_own_picture(store: Store) -> None:
    def embed(pixels: Pixels) -> Any:
        return pixels[:, 0, :, 0].astype(np.float32) / 256  # (N, 8)

    piece = piece_of("a", "b", "c")
    rows = publish(store, piece, IMPRINT, 0.1, embed)
    assert rows.schema.equals(manifest.manifest_schema(8))
    for row, picture in zip(rows.to_pylist(), piece.pixels, strict=True):
        assert row["embedding"] == pytest.approx(picture[0, :, 0] / 256, abs=1e-3)


def test_an_upload_that_fails_is_not_passed_over(store: Store, tmp_path: Path) -> None:
    piece = piece_of("a", "b")
    (tmp_path / layout.image(ids(piece.requests)[1])).mkdir(parents=True)
    with pytest.raises(OSError, match=ids(piece.requests)[1]):
        publish(store, piece, IMPRINT, 0.1, None)


def other_pixels(piece: Rendered) -> Rendered:
    return Rendered(piece.requests, 255 - piece.pixels, piece.batch_size)


@pytest.mark.parametrize("imprint", [IMPRINT, IN_TARS], ids=lambda imprint: imprint.layout)
def test_a_late_double_of_a_batch_never_changes_a_picture_and_its_rows_name_what_stands_there(
    store: Store, imprint: Imprint
) -> None:
    piece = piece_of("a", "b")
    publish(store, piece, imprint, 0.1, None)
    before = snapshot(store)
    rows = publish(store, other_pixels(piece), imprint, 0.1, None)
    assert snapshot(store) == before
    for row in rows.to_pylist():
        assert row["sha256"] == hashlib.sha256(read_picture(store, row["path"])).hexdigest()


def test_a_damaged_tar_in_the_place_of_a_batchs_is_replaced(store: Store) -> None:
    piece = piece_of("a", "b")
    publish(store, piece, IN_TARS, 0.1, None)
    ((name, whole),) = snapshot(store).items()
    wrong = request_of("another") | {"image_id": ids(piece.requests)[0], "model_name": "", "model_revision": ""}
    others = io.BytesIO()
    write_samples(others, name, [Sample(wrong, "png", PictureFormat().encode(pixels_of(1)[0], wrong, REVISION))])
    for damaged in (b"", b"no tar", whole[:-9000], others.getvalue()):
        store.write(name, damaged)
        publish(store, piece, IN_TARS, 0.1, None)
        assert store.read(name) == whole


def test_a_damaged_object_in_the_place_of_a_picture_is_replaced(store: Store) -> None:
    piece = piece_of("a")
    path = layout.image(ids(piece.requests)[0])
    for damaged in (b"", b"no picture", PictureFormat().encode(pixels_of(1)[0], request_of("another"), REVISION)):
        store.write(path, damaged)
        publish(store, piece, IMPRINT, 0.1, None)
        assert Image.open(io.BytesIO(store.read(path))).text["prompt"] == "a"  # type: ignore[attr-defined]

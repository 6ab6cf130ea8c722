from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.types import SecretDict

from blocks.storage import ModelStore
from pressrun.models.listing import PUBLISHED_NAME
from tests import runs
from tests.pressrun.models.small_model import write_model
from tests.s3_server import S3Server

TINTED = ("--engine", "tests.engines:tinted", "--workers", 1)


def test_publishing_tells_what_it_hashed_and_where_the_hashes_are(said: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(runs.MODEL, tmp_path / "shapes[/red]")
    code, told, _ = said("model", "publish", folder)
    assert (code, "published: 12 files in 13 chunks" in told) == (0, True)
    assert str(folder / PUBLISHED_NAME) in told
    code, told, _ = said("model", "publish", folder, "--json")
    assert (code, json.loads(told)["place"]) == (0, str(folder / PUBLISHED_NAME))


def test_a_folder_without_a_model_is_refused_and_left_alone(said: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    code, _, err = said("model", "publish", tmp_path)
    assert (code, "model_index.json" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.fixture
def studio(s3_server: S3Server, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Save a block for a bucket that can be read with its credentials alone, with a model in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    url, options = s3_server.make_bucket(), dict(s3_server.storage_options)
    runs.upload(s3_server, write_model(tmp_path / "painter"), f"{url}/painter")
    credentials = SecretDict({name: options.pop(name) for name in ("key", "secret")})
    ModelStore(url=url, options=options, credentials=credentials).save("studio", overwrite=True)
    return url


def test_a_model_is_had_with_the_credentials_of_a_block(said: Any, studio: str, tmp_path: Path) -> None:
    code, told, err = said("model", "publish", "painter", "--store", "studio", "--json")
    assert (code, json.loads(told)["place"]) == (0, f"{studio}/painter/{PUBLISHED_NAME}"), err
    code, told, err = said("cache", "preload", "painter", "--store", "studio", "--folder", tmp_path / "c", "--json")
    assert (code, json.loads(told)["name"]) == (0, "painter"), err
    code, _, err = said("release", "painter", "--store", "studio", "--golden", tmp_path / "golden")
    assert (code, "no golden set at" in err) == (2, True)  # which is looked for once the model is read
    for command in (("model", "publish"), ("cache", "preload"), ("release", "--golden", "golden")):
        code, _, err = said(*command, "painter", "--store", "nowhere")
        assert (code, "The block 'nowhere' of the type pressrun-model-store cannot be had" in err) == (2, True)


def test_a_block_that_holds_what_it_cannot_is_refused_and_shows_none_of_it(said: Any, studio: str) -> None:
    broken = BlockDocumentUpdate(data={"credentials": {"secret": "never to be told"}}, merge_existing_data=False)
    with get_client(sync_client=True) as client:
        named = client.read_block_document_by_name("studio", ModelStore.get_block_type_slug())
        client.update_block_document(named.id, broken)
    code, told, err = said("model", "publish", "painter", "--store", "studio")
    assert (code, "The block 'studio'" in err, "save it again" in err) == (2, True, True)
    assert "never to be told" not in told + err


@pytest.mark.slow
def test_a_release_is_told_with_its_numbers_and_a_refused_one_ends_with_the_code_for_flaws(
    said: Any, prefect_api: str, tmp_path: Path
) -> None:
    prompts = runs.prompt_file(tmp_path, ["a red star"])
    good, bad = (write_model(tmp_path / name) for name in ("paint-0", "paint-90"))
    golden = tmp_path / "golden"
    code, told, _ = said("release", good, "--golden", golden, "--write-golden", prompts, *TINTED)
    assert (code, "1 golden picture (1 written now) drawn again, all equal" in told) == (0, True)
    done = runs.run(prefect_api, "release", bad, "--golden", golden, *TINTED)
    assert (done.returncode, done.stdout) == (4, "")
    assert "'a red star'" in done.stderr
    assert "at least 30.0 dB wanted" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "explanation"),
    [
        ([], "no golden set at"),
        (["--least-ssim", "2"], "--least-ssim 2"),
        (["--dask", "nonsense"], "--dask 'nonsense'"),
        (["--write-golden", "none.txt"], "none.txt"),
        (["--mount", "s3://studio=/mnt/studio"], "choose the cache 'mount'"),
    ],
)
def test_a_release_that_cannot_be_begun_is_refused_before_a_server_starts(
    options: list[str], explanation: str, said: Any, tmp_path: Path
) -> None:
    code, told, err = said("release", runs.MODEL, "--golden", tmp_path / "golden", *options)
    assert (code, told) == (2, "")
    assert explanation in err
    assert not (tmp_path / "golden").exists()

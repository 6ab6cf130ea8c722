"""Everything in buckets: the prompts, the model, the collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments import cli
from flows.generate_images import generate_images
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.summary import Outcome
from pressrun.verification import verify
from tests import runs
from tests.forked_workers import workers_afresh
from tests.s3_server import S3Server

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.slow]


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a bucket that holds a model and prompts."""
    bucket = s3_server.make_bucket()
    runs.upload(s3_server, runs.MODEL, f"{bucket}/models/shapes")
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "prompts.csv").write_text(
        "prompt,campaign\na red star,summer\na blue ring,winter\na green heart,summer\n"
    )
    runs.upload(s3_server, folder / "prompts.csv", f"{bucket}/prompts.csv")
    return bucket


@pytest.fixture
def _credentials(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give credentials as a person gives them to a command line: in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(s3_server.storage_options["key"]))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(s3_server.storage_options["secret"]))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint_url)
    with workers_afresh():
        yield


def test_a_run_between_buckets_makes_a_sound_collection_and_its_rerun_only_what_is_missing(
    bucket: str, s3_server: S3Server, tmp_path: Path
) -> None:
    job = runs.job(
        "first",
        f"{bucket}/prompts.csv",
        model="shapes",
        model_store=runs.model_store(s3_server, f"{bucket}/models"),
        collection_store=runs.collection_store(s3_server, f"{bucket}/collections"),
    )
    store = Store(Location(f"{bucket}/collections/first", s3_server.storage_options))
    first = generate_images(job)
    assert (first.outcome, first.done) == (Outcome.complete, 3)
    assert verify(store).flaws == []
    assert not store.exists("writer.json")
    store.delete([next(name for name, _ in store.walk("manifest"))])
    store.delete(name for name, _ in list(store.walk("images"))[:1])
    again = generate_images(job)
    assert (again.outcome, again.held, again.done) == (Outcome.complete, 0, 3)
    found = verify(store)
    assert (found.flaws, found.images, found.objects) == ([], 3, 3)


@pytest.mark.usefixtures("_credentials")
def test_the_command_line_generates_verifies_and_searches_in_a_bucket(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"{bucket}/collections/second"
    options = runs.quick_options(out, model=f"{bucket}/models/shapes", embedder="carried", workers=1)
    assert cli.run(["generate", f"{bucket}/prompts.csv", *options]) == 0
    assert cli.run(["verify", out]) == 0
    capsys.readouterr()
    assert cli.run(["search", out, "a star", "-k", "2", "--where", "extra.campaign=summer", "--json"]) == 0
    shown = capsys.readouterr().out
    assert "a red star" in shown
    assert "a green heart" in shown
    assert "a blue ring" not in shown

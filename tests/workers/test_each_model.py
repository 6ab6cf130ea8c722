"""Several models in one job, on real workers."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from blocks.clusters import LocalDaskCluster
from blocks.engine import DiffusersEngine
from pressrun.draft import picture_revision
from pressrun.errors import QualityRefused
from pressrun.plan import cut_model_shards
from pressrun.run import Run
from tests import engines, runs
from tests.workers.conftest import OpenedRun
from tests.workers.tiny_models import save_tiny
from workers.each_model import accept_models_options, warm_models
from workers.fleet import LocalFleet
from workers.generation import generate
from workers.model_host import model_host
from workers.order import PrintOrder
from workers.quoting import quote_run
from workers.scaling import scale
from workers.speed import Speed
from workers.turns import Turns
from workers.window import open_window

Opened = Callable[..., OpenedRun]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give two models that differ in one setting, and so in their revision."""
    root = tmp_path_factory.mktemp("models")
    folders = {"ink": save_tiny("sd", root / "ink")}
    folders["photo"] = shutil.copytree(folders["ink"], root / "photo")
    settings = folders["photo"] / "vae" / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"scaling_factor": 0.5}))
    return {name: str(folder) for name, folder in folders.items()}


@pytest.fixture(autouse=True)
def _fresh_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements of other tests are not remembered."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def roomy(fleet: LocalFleet) -> Any:
    """Give a function that sets the bytes that each worker has for models, and undo it."""
    client = fleet.open()

    def have_room(room_bytes: int | None) -> None:
        client.run(_have_room, room_bytes)

    yield have_room
    client.run(_have_room, None)


def _have_room(room_bytes: int | None) -> None:
    host = model_host()
    host.close()
    host.budget_bytes = room_bytes


def rows(*names: str | None, each: int = 8, **fields: Any) -> list[dict[str, Any]]:
    """Return prompts that go round the models, the same for each."""
    return [
        {"prompt": f"a picture {number}", "seed": number, "model": name, "width": 32, "height": 32, **fields}
        for number in range(each)
        for name in names
    ]


def generate_all(run: Run, fleet: LocalFleet, order: PrintOrder, speed: Speed) -> None:
    """Generate all shards as the flow does, two at a time."""
    shards = list(cut_model_shards(run.plan.todo, run.job.shard_images, lambda model: speed.of(model).batch_sizes))
    window, turns = open_window(fleet, order, 2), Turns(shards)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda shard: generate(run, shard, speed, window, turns), shards))


def test_where_memory_has_room_for_one_model_no_worker_loads_one_for_every_batch(
    fleet: LocalFleet, opened: Opened, models: dict[str, str], roomy: Any, tmp_path: Path
) -> None:
    some = {"model": "ink", "models": models, "engine": "tests.engines:loading", "batch_size": 1}
    # Three shards a model: the last of one and the first of the next are open at once.
    run, order = opened(rows("photo", None, each=60), shard_images=20, **some)
    roomy(run.facts.weight_bytes)
    speed = warm_models(run, fleet, order)
    assert engines.loaded(tmp_path / "out") == [["photo", "ink"]] * 2  # the first to be drawn is still warm
    generate_all(run, fleet, order, speed)
    for loads in engines.loaded(tmp_path / "out"):
        assert len(loads) <= 5, loads  # 3, and 2 more where threads overtake one another at the switch
    assert not runs.flaws(tmp_path / "out")
    assert Counter(row["model_name"] for row in runs.rows(tmp_path / "out").values()) == {"ink": 60, "photo": 60}


def test_only_models_with_a_picture_to_draw_are_brought_and_warmed(
    fleet: LocalFleet, opened: Opened, models: dict[str, str], tmp_path: Path
) -> None:
    run, order = opened(rows("ink", each=2), models=models, engine="tests.engines:loading")
    speed = warm_models(run, fleet, order)
    assert list(order.others) == list(speed.others) == ["ink"]
    assert {name for loads in engines.loaded(tmp_path / "out") for name in loads} == {"ink"}


def test_a_quote_counts_every_model_by_its_own_speed(fleet: LocalFleet, opened: Opened, models: dict[str, str]) -> None:
    priced = LocalDaskCluster(price_per_worker_hour=1)
    prompts = [*rows("ink", each=6), *rows("photo", each=3)]
    run, order = opened(prompts, models=models, cluster=priced, budget=9)
    speed = warm_models(run, fleet, order)
    of_model = {profile.model_revision: profile.image_s(20) for profile in run.ledger.profiles}
    ink_s, photo_s = (of_model[picture_revision(run.models[name].facts, "null")] for name in ("ink", "photo"))
    quote = quote_run(run, fleet, speed)
    assert quote is not None
    assert (quote.work.images, quote.work.batches) == (9, 5)
    assert quote.work.drawing_s == pytest.approx(6 * ink_s + 4 * photo_s)  # a short batch is padded
    assert scale(run, fleet, order, speed, None) == 2


def test_pictures_are_drawn_by_their_rows_models_as_in_a_job_of_that_model_alone(
    fleet: LocalFleet, opened: Opened, models: dict[str, str], tmp_path: Path
) -> None:
    few = {"engine": "diffusers", "batch_size": 2, "defaults": {"steps": 2}, "precision": "fp32"}
    run, order = opened(rows("ink", "photo", each=3), model="ink", models=models, **few)
    generate_all(run, fleet, order, warm_models(run, fleet, order))
    made = runs.rows(tmp_path / "out")
    assert not runs.flaws(tmp_path / "out")
    by_model = {name: {key: row for key, row in made.items() if row["model_name"] == name} for name in models}
    assert [len(found) for found in by_model.values()] == [3, 3]
    assert {row["model_revision"] for row in by_model["photo"].values()} == {run.models["photo"].facts.revision}
    assert len({row["sha256"] for row in made.values()}) == 6
    run.close()
    shutil.rmtree(tmp_path / "out")
    alone, order = opened([row | {"model": None} for row in rows("photo", each=3)], model=models["photo"], **few)
    generate_all(alone, fleet, order, warm_models(alone, fleet, order))
    again = runs.rows(tmp_path / "out")
    assert {key: digest(tmp_path / "out", row) for key, row in again.items()} == {
        key: row["sha256"] for key, row in by_model["photo"].items()
    }


def digest(collection: Path, row: dict[str, Any]) -> str:
    return hashlib.sha256((collection / row["path"]).read_bytes()).hexdigest()


def test_engine_options_are_tried_on_every_model_and_a_refusal_names_it(
    fleet: LocalFleet, opened: Opened, models: dict[str, str]
) -> None:
    strict = DiffusersEngine(channels_last=True, least_psnr_db=0.0)
    some = {"engine": "diffusers", "models": models, "defaults": {"steps": 2}, "precision": "fp32"}
    run, order = opened(rows("ink", "photo", each=2), engine_options=strict, **some)
    accepted = accept_models_options(run, fleet, order)
    assert {name: accepted.of(name).options.channels_last for name in models} == {"ink": True, "photo": True}
    assert {trial.name.partition(":")[0] for trial in run.ledger.trials} == {"ink", "photo"}
    run.close()
    impossible = DiffusersEngine(channels_last=True, least_psnr_db=100.0)
    run, order = opened(rows("photo", each=2), engine_options=impossible, **some | {"precision": "bf16"})
    with pytest.raises(QualityRefused, match=r"^Model photo: With the engine options bf16"):
        accept_models_options(run, fleet, order)

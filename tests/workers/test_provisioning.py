from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pressrun.batch_sizes import BatchSizes
from pressrun.errors import InvalidModel, StageFailed
from pressrun.plan import cut_batches
from pressrun.run import open_run
from tests import engines, runs
from tests.adapters import write_adapter
from tests.home import HOME
from tests.s3_server import S3Server
from tests.workers.conftest import OpenedRun
from workers.cache.chunk_store import ChunkStore
from workers.cache.folder_notes import noted_budget
from workers.cache.runtimes import bring
from workers.engines.loading import load_renderer
from workers.fleet import LocalFleet
from workers.provisioning import provision
from workers.run_end import leave_workers
from workers.window import Window

Opened = Callable[..., OpenedRun]


@pytest.fixture
def empty_cache() -> None:
    """Drop the models that earlier tests brought to this host."""
    for name in ("models", "models-acme"):
        shutil.rmtree(HOME / ".cache" / "pressrun" / name, ignore_errors=True)


def test_the_order_says_what_the_job_says(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(2), embedder="carried", precision="fp32")
    assert (order.run_id, order.engine, order.dtype) == (run.run_id, "null", "fp32")
    assert (order.model, order.collection, order.embedder) == (run.job.model, run.job.collection, run.job.embedder)
    assert order.embedder_facts is not None
    assert order.embedding_size == order.embedder_facts.dimension > 0


def test_a_model_on_this_host_is_used_where_it_lies(fleet: LocalFleet, opened: Opened) -> None:
    run, _ = opened(runs.prompts(2))
    assert run.ledger.origin_bytes == 0


def test_the_cluster_is_recorded_before_it_is_opened(tmp_path: Path) -> None:
    class Unopenable(LocalFleet):
        def open(self) -> None:
            raise OSError("no ports left")

    run = open_run(runs.job(tmp_path / "out", runs.prompts(2)).job(), "run-1")
    try:
        with pytest.raises(OSError, match="no ports"):
            provision(run, Unopenable())
        assert json.loads(run.store.read("runs/run-1/fleet.json"))["kind"] == "local"
    finally:
        run.close()


def test_a_run_with_nothing_to_do_opens_no_cluster(fleet: LocalFleet, opened: Opened) -> None:
    class Unopenable(LocalFleet):
        def open(self) -> None:
            raise AssertionError("opened")

    first, order = opened(runs.prompts(2))
    list(Window(fleet.open(), order, in_flight=1).receipts(cut_batches(first.plan.todo, BatchSizes({(64, 64): 2}))))
    first.close()
    run, _ = opened(runs.prompts(2))
    assert run.is_idle
    assert provision(run, Unopenable()).run_id == run.run_id


def test_a_remote_model_is_read_once_for_all_workers_of_a_host_and_once_for_all_runs(
    opened: Opened, s3_server: S3Server, empty_cache: None
) -> None:
    bucket = s3_server.make_bucket()
    runs.upload(s3_server, runs.MODEL, f"{bucket}/shapes")
    store = runs.model_store(s3_server, bucket)
    run, order = opened(runs.prompts(2), model="shapes", model_store=store)
    assert run.ledger.origin_bytes == sum(file.size_bytes for file in order.facts.files) > 0
    run.close()
    again, _ = opened(runs.prompts(2), model="shapes", model_store=store)
    assert again.ledger.origin_bytes == 0
    assert run.ledger.traffic is not None
    assert again.ledger.traffic is not None
    size_bytes = run.ledger.origin_bytes
    assert (run.ledger.traffic.origin_copies, run.ledger.traffic.total.all_bytes) == (1.0, size_bytes)
    assert (again.ledger.traffic.hit_ratio, again.ledger.traffic.total.disk_bytes) == (1.0, size_bytes)


@pytest.mark.parametrize("runtime", ["peer", "none"])
def test_what_was_brought_stays_until_the_run_has_ended_though_no_task_has_used_it(
    fleet: LocalFleet, opened: Opened, s3_server: S3Server, empty_cache: None, tmp_path: Path, runtime: str
) -> None:
    bucket, other = s3_server.make_bucket(), shutil.copytree(runs.MODEL, tmp_path / "other")
    settings = other / "vae" / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"scaling_factor": 0.5}))
    for name, folder in (("ink", runs.MODEL), ("photo", other)):
        runs.upload(s3_server, folder, f"{bucket}/{name}")
    rows = [{"prompt": "a", "model": "ink"}, {"prompt": "b", "model": "photo"}]
    store = runs.model_store(s3_server, bucket)
    models = {"ink": "ink", "photo": "photo"}
    run, order = opened(rows, model="ink", models=models, model_store=store, cache={"runtime": runtime})
    cache = ChunkStore(Path(order.cache_folder).expanduser())
    held = {state.revision for state in cache.status().revisions}
    assert held == {order.of(name).facts.revision for name in ("ink", "photo")}
    assert len(held) == 2
    assert cache.shrink_to(0) == cache.status().size_bytes > 0
    assert {state.revision for state in cache.status().revisions} == held
    leave_workers(fleet, run.run_id)
    assert cache.shrink_to(0) == 0


def test_what_hosts_read_for_themselves_is_told_too(opened: Opened, s3_server: S3Server, empty_cache: None) -> None:
    bucket = s3_server.make_bucket()
    runs.upload(s3_server, runs.MODEL, f"{bucket}/shapes")
    store = runs.model_store(s3_server, bucket)
    run, order = opened(runs.prompts(2), model="shapes", model_store=store, cache={"runtime": "none"})
    assert run.ledger.traffic is not None
    assert run.ledger.traffic.total.origin_bytes == sum(file.size_bytes for file in order.facts.files)
    assert run.ledger.traffic.efficiency is None
    assert run.ledger.traffic.total.bytes_per_s is not None


def test_a_tenant_may_have_a_folder_of_its_own_and_the_run_s_budget_is_noted_there(
    opened: Opened, s3_server: S3Server, empty_cache: None
) -> None:
    bucket = s3_server.make_bucket()
    runs.upload(s3_server, runs.MODEL, f"{bucket}/shapes")
    some = {"model": "shapes", "model_store": runs.model_store(s3_server, bucket), "tenant": "acme"}
    with pytest.raises(InvalidModel, match=r"shapes .* has \d.* MB, but the cache may hold 10 kB on a host"):
        opened(runs.prompts(2), **some, cache={"exclusive": True, "budget": "10kB"})
    _, order = opened(runs.prompts(2), **some, cache={"exclusive": True, "budget": "1GB"})
    own = HOME / ".cache" / "pressrun" / "models-acme"
    assert bring(order, order.model, order.facts).path.parent == own
    assert noted_budget(own) == 10**9
    assert not (HOME / ".cache" / "pressrun" / "models").exists()


def test_a_mounted_model_is_used_in_place_and_hosts_that_lack_it_are_refused_before_it_is_loaded(
    fleet: LocalFleet, opened: Opened, s3_server: S3Server, empty_cache: None, tmp_path: Path
) -> None:
    bucket, mount = s3_server.make_bucket(), tmp_path / "mnt"
    runs.upload(s3_server, runs.MODEL, f"{bucket}/shapes")
    some = {
        "model": "shapes",
        "model_store": runs.model_store(s3_server, bucket),
        "cache": {"runtime": "mount", "mounts": {bucket: str(mount)}},
    }
    with pytest.raises(InvalidModel, match=rf"^Host {socket.gethostname()} has no file {mount}/shapes/"):
        opened(runs.prompts(2), engine="tests.engines:loading", **some)
    assert engines.loaded(tmp_path / "out") == []
    shutil.copytree(runs.MODEL, mount / "shapes")
    run = open_run(runs.job(tmp_path / "mounted", runs.prompts(2), **some).job(), "run-mounted")
    try:
        order = provision(run, fleet)
    finally:
        run.close()
    assert run.ledger.origin_bytes == 0
    assert bring(order, order.model, order.facts).path == mount / "shapes"
    assert not (HOME / ".cache" / "pressrun" / "models").exists()


def test_adapters_that_are_used_are_read_once_for_a_host_and_their_file_alone(
    opened: Opened, s3_server: S3Server, empty_cache: None, tmp_path: Path
) -> None:
    bucket, files = s3_server.make_bucket(), {}
    for seed, name in enumerate(("ink", "wash", "idle")):
        files[name] = write_adapter(tmp_path / f"{name}.safetensors", runs.MODEL, seed=seed)
        runs.upload(s3_server, files[name], f"{bucket}/{name}.safetensors")
    adapters = {name: runs.model_store(s3_server, f"{bucket}/{name}.safetensors") for name in files}
    rows = [{"prompt": "a", "adapters": "ink"}, {"prompt": "b", "adapters": "ink:0.5,wash"}, "c"]
    run, order = opened(rows, adapters=adapters)
    used = {name: files[name].read_bytes() for name in ("ink", "wash")}
    assert run.ledger.origin_bytes == sum(map(len, used.values()))
    assert order.weight_bytes == order.facts.weight_bytes + run.ledger.origin_bytes
    copies = (HOME / ".cache" / "pressrun" / "models").rglob("*.safetensors")
    assert {copy.stem: copy.read_bytes() for copy in copies} == used
    load_renderer(replace(order, engine="diffusers")).close()
    run.close()
    again, _ = opened(rows, adapters=adapters)
    assert again.ledger.origin_bytes == 0


def test_workers_that_cannot_see_the_collection_are_refused_by_host(fleet: LocalFleet, tmp_path: Path) -> None:
    # Each process has a memory of its own, as hosts without a shared disk have each their own folders.
    run = open_run(runs.job(f"memory://{tmp_path.name}", runs.prompts(2)).job(), "run-1")
    try:
        with pytest.raises(StageFailed, match=r"workers on tcp://127.0.0.1 cannot see the collection .* shared disk"):
            provision(run, fleet)
    finally:
        run.close()

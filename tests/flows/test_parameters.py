from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.types import SecretDict
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError

from blocks.clusters import ExistingDaskCluster, LocalDaskCluster
from blocks.storage import CollectionStore, ModelStore
from flows.generate_images import generate_images
from flows.parameters import GenerateParameters, PictureDefaults
from pressrun.cache.options import UNLIMITED_BYTES, CacheOptions
from pressrun.carried import CARRIED_EMBEDDER
from pressrun.job import Reuse
from pressrun.location import Location
from pressrun.request import SCHEDULERS, RequestDefaults
from workers.fleet import JoinedFleet, LocalFleet

LEAST: dict[str, Any] = {"prompts": "prompts.csv", "model": "models/shapes", "output": "out"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema that a deployment stores, by which the server draws its form and judges what is sent."""
    return dict(parameter_schema(generate_images).model_dump_for_openapi())


def is_accepted(schema: dict[str, Any], **parameters: Any) -> bool:
    return not validate({"job": LEAST | parameters}, schema)


@pytest.mark.parametrize("model", ["GenerateParameters", "PictureDefaults", "CacheParameters"])
def test_every_field_of_the_form_has_a_description(schema: dict[str, Any], model: str) -> None:
    fields = schema["definitions"][model]["properties"]
    assert all(len(field.get("description", "")) > 10 for field in fields.values()), fields


@pytest.mark.parametrize("model", ["GenerateParameters", "PictureDefaults", "LocalDaskCluster", "ExistingDaskCluster"])
def test_the_form_offers_no_choice_called_none(schema: dict[str, Any], model: str) -> None:
    fields = schema["definitions"][model]["properties"]
    assert '"null"' not in json.dumps(fields)


def test_numbers_have_ranges_and_schedulers_are_a_list_to_choose_from(schema: dict[str, Any]) -> None:
    fields = schema["definitions"]["PictureDefaults"]["properties"]
    assert (fields["steps"]["minimum"], fields["steps"]["maximum"]) == (1, 1000)
    assert (fields["width"]["minimum"], fields["width"]["maximum"]) == (8, 4096)
    assert fields["scheduler"]["enum"] == list(SCHEDULERS)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"prompts": ["a red circle"]},
        {"prompts": [{"prompt": "a red circle", "seed": 3}, "a star"]},
        {"deadline": "1h30m", "budget": 12.5},
        {"deadline": None, "budget": None},
        {"cache": {"runtime": "mount", "mounts": {"s3://studio": "/mnt/studio"}, "affinity": "hard"}},
        {"workers": None, "batch_size": 4, "defaults": {"width": None, "steps": 3}},
        {"cluster": {"$ref": {"block_document_id": "7b0b0fd8-0d5c-4d1c-8d0e-2c0c0c5f3f1a"}}},
        {"models": {"ink": "models/ink", "photo": "s3://studio/photo"}},
        {"models": {"ink": {"$ref": {"block_document_id": "7b0b0fd8-0d5c-4d1c-8d0e-2c0c0c5f3f1a"}}}},
        {"collection_store": {"$ref": {"block_document_id": "7b0b0fd8-0d5c-4d1c-8d0e-2c0c0c5f3f1a"}}},
    ],
)
def test_the_server_accepts_what_the_model_accepts(schema: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert is_accepted(schema, **parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"stepps": 3},
        {"batch_size": 0},
        {"defaults": {"steps": 0}},
        {"defaults": {"scheduler": "ddin"}},
        {"output": 3},
        {"deadline": "soon"},
        {"tenant": "a b"},
        {"reuse_as": "link"},
        {"cache": {"runtime": "torrent"}},
        {"cache": {"affinity": "firm"}},
        {"budget": -1},
    ],
)
def test_what_is_wrong_is_refused_by_the_server_and_by_the_model(
    schema: dict[str, Any], parameters: dict[str, Any]
) -> None:
    assert not is_accepted(schema, **parameters)
    with pytest.raises(ValidationError):
        GenerateParameters(**(LEAST | parameters))


def test_a_wrong_scheduler_is_answered_with_the_right_ones() -> None:
    with pytest.raises(ValidationError, match="ddim, ddpm, dpmpp-2m"):
        PictureDefaults(scheduler="ddin")


def test_deadline_budget_and_price_reach_the_job() -> None:
    cluster = LocalDaskCluster(price_per_worker_hour=2.0)
    job = GenerateParameters(**LEAST, deadline="1.5h", budget=30, cluster=cluster).job()
    assert (job.deadline_s, job.budget, job.price_per_worker_hour) == (5400.0, 30.0, 2.0)
    assert job.has_terms
    assert not GenerateParameters(**LEAST).job().has_terms


def test_reuse_and_tenant_reach_the_job() -> None:
    store = CollectionStore(url="s3://studio")
    chosen = {"reuse_from": ["library"], "reuse_as": "reference", "reuse_across_tenants": True, "tenant": "acme"}
    job = GenerateParameters(**LEAST, collection_store=store, **chosen).job()
    assert (job.reuse, job.tenant) == (Reuse((Location("s3://studio/library"),), "reference", True), "acme")
    plain = GenerateParameters(**LEAST).job()
    assert (plain.reuse, plain.tenant) == (Reuse(), "")


def test_the_cache_reaches_the_job_and_its_mounts_without_credentials() -> None:
    mounts = {"s3://key:secret@studio/models": "/mnt/models"}
    chosen = {"runtime": "mount", "mounts": mounts, "affinity": "off", "budget": "1.5TB"}
    job = GenerateParameters(**LEAST, cache=chosen).job()
    assert job.cache == CacheOptions("mount", {"s3://studio/models": "/mnt/models"}, "off", 15 * 10**11)
    assert GenerateParameters(**LEAST).job().cache == CacheOptions("peer", {}, "soft")


def test_an_exclusive_cache_has_a_folder_of_its_own_whatever_the_tenant_is_called() -> None:
    job = GenerateParameters(**LEAST, tenant="acme", cache={"exclusive": True}).job()
    shared = GenerateParameters(**LEAST, tenant="acme").job().models_folder
    assert (job.models_folder, shared) == ("~/.cache/pressrun/models-acme", "~/.cache/pressrun/models")
    tenants = ("acme", "Acme", "../acme", "a/b", "..", "a%2Fb")
    folders = {replace(job, tenant=tenant).models_folder for tenant in tenants}
    assert len(folders) == len(tenants)
    assert {Path(folder).parent for folder in folders} == {Path("~/.cache/pressrun")}


def test_a_cache_lies_where_the_job_says_on_every_host() -> None:
    job = GenerateParameters(**LEAST, cache={"folder": "/nvme/models/"}).job()
    assert job.models_folder == "/nvme/models"
    own = GenerateParameters(**LEAST, tenant="acme", cache={"folder": "~/models/", "exclusive": True}).job()
    assert own.models_folder == "~/models-acme"
    with pytest.raises(ValidationError, match="no absolute folder"):
        GenerateParameters(**LEAST, cache={"folder": "nvme/models"})


def test_a_cache_has_memory_of_a_readable_size() -> None:
    assert GenerateParameters(**LEAST, cache={"memory": "20GB"}).job().cache.memory_bytes == 20_000_000_000
    assert GenerateParameters(**LEAST).job().cache.memory_bytes is None
    with pytest.raises(ValidationError, match="no size above 0"):
        GenerateParameters(**LEAST, cache={"memory": "much"})


def test_a_cache_budget_is_a_size_or_unlimited() -> None:
    assert GenerateParameters(**LEAST, cache={"budget": "unlimited"}).job().cache.budget_bytes == UNLIMITED_BYTES
    with pytest.raises(ValidationError, match="write it as 200GB"):
        GenerateParameters(**LEAST, cache={"budget": "much"})


def test_a_deadline_that_cannot_be_read_is_answered_with_examples() -> None:
    for deadline in ("soon", "0m"):
        with pytest.raises(ValidationError, match=r"write it as 90m, 2h, 1\.5h"):
            GenerateParameters(**LEAST, deadline=deadline)


def test_left_out_fields_become_the_defaults_of_a_job() -> None:
    job = GenerateParameters(**LEAST).job()
    assert job.defaults == RequestDefaults()
    assert (job.prompts, job.model, job.collection) == (
        Location("prompts.csv"),
        Location(str(Path("models/shapes").absolute())),  # workers have other working folders
        Location(str(Path("out").absolute())),
    )
    assert (job.engine, job.dtype, job.batch_size, job.workers) == ("diffusers", "auto", None, None)


def test_every_picture_default_reaches_the_job() -> None:
    same = {
        "images_per_prompt": 3,
        "steps": 7,
        "guidance_scale": 2.5,
        "scheduler": "ddim",
        "negative_prompt": "x",
        "adapters": "ink:0.5",
        "seed": 9,
    }
    chosen = PictureDefaults(**same, width=64, height=32)
    wanted = RequestDefaults(**same, width_px=64, height_px=32)
    assert GenerateParameters(**LEAST, defaults=chosen).job().defaults == wanted


@pytest.mark.parametrize(
    ("embedder", "location"),
    [("carried", str(CARRIED_EMBEDDER)), ("/models/clip", "/models/clip"), ("none", None), ("", None), (None, None)],
)
def test_the_search_model_is_the_carried_one_another_or_none(embedder: str | None, location: str | None) -> None:
    job = GenerateParameters(**LEAST, embedder=embedder).job()
    assert (job.embedder.url if job.embedder else None) == location


def test_paths_are_below_their_stores_with_the_credentials_of_the_stores() -> None:
    credentials = {"key": "k", "secret": "s"}
    parameters = GenerateParameters(
        prompts="s3://studio/prompts.csv",
        model="sdxl",
        output="/summer/",
        model_store=ModelStore(url="s3://studio/models"),
        collection_store=CollectionStore(url="s3://studio/collections", credentials=SecretDict(credentials)),
    )
    job = parameters.job()
    assert job.model == Location("s3://studio/models/sdxl")
    assert job.collection == Location("s3://studio/collections/summer", credentials)
    assert job.prompts == Location("s3://studio/prompts.csv", credentials)


def test_adapters_are_paths_below_the_model_store_urls_or_blocks_of_their_own() -> None:
    own = ModelStore(url="s3://inks/ink.safetensors", credentials=SecretDict({"key": "k"}))
    adapters = {"ink": own, "wash": "loras/wash.safetensors", "chalk": "s3://elsewhere/chalk"}
    plain = GenerateParameters(**LEAST, adapters=adapters).job().adapters
    assert plain == {
        "ink": Location("s3://inks/ink.safetensors", {"key": "k"}),
        "wash": Location(str(Path("loras/wash.safetensors").absolute())),
        "chalk": Location("s3://elsewhere/chalk"),
    }
    below = GenerateParameters(**LEAST, adapters=adapters, model_store=ModelStore(url="s3://studio/models")).job()
    assert below.adapters == {**plain, "wash": Location("s3://studio/models/loras/wash.safetensors")}


def test_named_models_are_below_the_model_store_or_are_blocks_of_their_own() -> None:
    own = ModelStore(url="s3://other/photo", credentials=SecretDict({"key": "k"}))
    models = {"ink": "ink-v3", "photo": own}
    store = ModelStore(url="s3://studio/models")
    job = GenerateParameters(**LEAST | {"model": "ink"}, models=models, model_store=store).job()
    assert job.models == {
        "ink": Location("s3://studio/models/ink-v3"),
        "photo": Location("s3://other/photo", {"key": "k"}),
    }
    assert job.model == job.models["ink"]


def test_a_local_prompt_file_needs_no_credentials(tmp_path: Path) -> None:
    store = CollectionStore(url="s3://studio", credentials=SecretDict({"key": "k"}))
    job = GenerateParameters(**(LEAST | {"prompts": str(tmp_path / "p.csv"), "collection_store": store})).job()
    assert job.prompts == Location(str(tmp_path / "p.csv"))


def test_the_cluster_block_decides_the_workers() -> None:
    assert GenerateParameters(**LEAST).fleet() == LocalFleet()
    local = GenerateParameters(**LEAST, cluster=LocalDaskCluster(workers=3, price_per_worker_hour=2.0))
    assert local.fleet().largest == 3
    assert local.job().price_per_worker_hour == 2.0
    existing = GenerateParameters(**LEAST, cluster=ExistingDaskCluster(address="tcp://10.0.0.5:8786"))
    assert existing.fleet() == JoinedFleet("tcp://10.0.0.5:8786")

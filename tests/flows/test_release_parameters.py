from __future__ import annotations

import json
from typing import Any

import pytest
from prefect.types import SecretDict
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError

from blocks.clusters import ExistingDaskCluster
from blocks.storage import CollectionStore, ModelStore
from flows.publish_model import publish_model
from flows.release_parameters import ReleaseParameters
from pressrun.release.verdict import GoldenBudget

LEAST: dict[str, Any] = {"model": "paint", "golden": "set"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema that a deployment stores, by which the server draws its form and judges what is sent."""
    return dict(parameter_schema(publish_model).model_dump_for_openapi())


def test_every_field_of_the_form_is_described_and_none_is_a_choice(schema: dict[str, Any]) -> None:
    fields = schema["definitions"]["ReleaseParameters"]["properties"]
    assert all(len(field.get("description", "")) > 10 for field in fields.values()), fields
    assert '"null"' not in json.dumps(fields)


@pytest.mark.parametrize(
    ("parameters", "accepted"),
    [
        ({}, True),
        ({"write_golden": True, "prompts": ["a star"], "defaults": {"steps": 4}}, True),
        ({"least_ssim": 0.5, "workers": 3, "precision": "bf16"}, True),
        ({"least_ssim": 2}, False),
        ({"model": ""}, False),
        ({"workers": 0}, False),
        ({"tenant": "acme", "exclusive": True, "cache_folder": "/nvme/models"}, True),
        ({"cache_folder": "nvme"}, False),
    ],
)
def test_the_form_judges_as_the_flow_does(schema: dict[str, Any], parameters: dict[str, Any], accepted: bool) -> None:
    assert (not validate({"release": LEAST | parameters}, schema)) == accepted


def test_the_order_says_what_the_form_says_with_credentials_in_its_locations_alone() -> None:
    secret = SecretDict({"secret": "hunter2"})
    release = ReleaseParameters(
        **LEAST,
        write_golden=True,
        prompts=["a star"],
        defaults={"steps": 4},
        least_psnr_db=20,
        least_ssim=0.5,
        precision="fp32",
        model_store=ModelStore(url="s3://models", credentials=secret),
        collection_store=CollectionStore(url="s3://golden", credentials=secret),
        cluster=ExistingDaskCluster(address="tcp://10.0.0.5:8786"),
    )
    order = release.order()
    assert (str(order.model), str(order.golden)) == ("s3://models/paint", "s3://golden/set")
    assert (order.budget, order.dtype) == (GoldenBudget(20, 0.5), "fp32")
    assert order.golden_job is not None
    assert (order.golden_job.defaults.steps, order.golden_job.batch_size) == (4, 1)
    assert order.model.options["secret"] == order.golden.options["secret"] == "hunter2"
    assert "hunter2" not in repr(order)
    assert release.model_copy(update={"write_golden": False}).order().golden_job is None


def test_a_tenant_s_own_cache_is_prepared_where_its_runs_look() -> None:
    chosen = {"tenant": "acme", "exclusive": True}
    assert ReleaseParameters(**LEAST, **chosen).order().cache_folder == "~/.cache/pressrun/models-acme"
    order = ReleaseParameters(**LEAST, **chosen, cache_folder="/nvme/models").order()
    assert order.cache_folder == "/nvme/models-acme"
    with pytest.raises(ValidationError, match="give the tenant"):
        ReleaseParameters(**LEAST, exclusive=True)

"""Blocks on a real server: registered, saved, loaded, and never shown with their credentials."""

from __future__ import annotations

import os

import pytest
from prefect.blocks.core import Block
from prefect.types import SecretDict

from blocks.clusters import ExistingDaskCluster, LocalDaskCluster
from blocks.storage import CollectionStore, ModelStore
from deployments.register_blocks import BLOCK_TYPES, example_documents
from tests.served import CLONE, Served

pytestmark = pytest.mark.slow

SECRET = "do-not-show-me-4711"
BLOCKS: dict[str, Block] = {
    "models": ModelStore(url="s3://studio/models", credentials=SecretDict({"key": "k", "secret": SECRET})),
    "collections": CollectionStore(url="s3://studio", options={"anon": False}, credentials=SecretDict({"key": SECRET})),
    "local": LocalDaskCluster(workers=2, memory_limit_gb=4, price_per_worker_hour=0.5),
    "existing": ExistingDaskCluster(address="tcp://10.0.0.5:8786"),
}


def test_serve_registers_these_block_types_and_no_other_of_ours(served: Served) -> None:
    types = served.post("/block_types/filter", {"limit": 200})
    assert {kind["name"] for kind in types if kind["name"].startswith(("Pressrun", "_"))} == {
        block_type.get_block_type_name() for block_type in BLOCK_TYPES
    }


@pytest.mark.parametrize("name", list(BLOCKS))
def test_a_saved_block_is_loaded_as_it_was_and_shown_without_its_secrets(served: Served, name: str) -> None:
    block = BLOCKS[name]
    with served.chosen():
        document_id = block.save(f"round-{name}", overwrite=True)
        loaded = type(block).load(f"round-{name}")
    assert loaded == block
    assert SECRET not in str(served.get(f"/block_documents/{document_id}"))


def test_the_examples_work_in_the_clone(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CLONE)  # where the worker runs flows
    with served.chosen():
        blocks = {name: type(block).load(name) for name, block in example_documents().items()}
    assert "MB of weights" in blocks["examples-models"].check("shapes")
    assert blocks["this-machine"].fleet().largest == (os.cpu_count() or 1)
    assert blocks["examples-collections"].location("summer").url == "out-collections/summer"

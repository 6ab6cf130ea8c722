"""Credentials stay in their block: they are in nothing that a run stores, logs or writes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import s3fs
from prefect.types import SecretDict

from blocks.storage import CollectionStore
from tests.s3_server import S3Server
from tests.served import CLONE, SHAPES, Served

pytestmark = pytest.mark.slow

SECRET = "do-not-show-me-4711"
_PASSES_A_BLOCK = """
import json, sys
from blocks.storage import CollectionStore
from flows.generate_images import generate_images
from flows.parameters import GenerateParameters
if __name__ == "__main__":
    store = CollectionStore.load("secret-store")
    print(store, generate_images(GenerateParameters(**json.loads(sys.argv[1]), collection_store=store)))
"""


@pytest.fixture(scope="module")
def store(served: Served, s3_server: S3Server) -> CollectionStore:
    options = {name: value for name, value in s3_server.storage_options.items() if name not in ("key", "secret")}
    credentials = SecretDict({"key": "test", "secret": SECRET})
    block = CollectionStore(url=s3_server.make_bucket(), options=options, credentials=credentials)
    with served.chosen():
        block.save("secret-store", overwrite=True)
    return block


def job(output: str) -> dict[str, Any]:
    prompts = ["a red circle", "a blue star"]
    plain = {"engine": "null", "embedder": "none", "batch_size": 2, "workers": 1}
    return {"prompts": prompts, "model": SHAPES, "output": output, **plain}


def everything_stored(served: Served, flow_run_id: str) -> str:
    chosen = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
    stored = [served.flow_run(flow_run_id), served.logs(flow_run_id)]
    stored += [served.post(f"/{kind}/filter", chosen) for kind in ("task_runs", "artifacts")]
    return json.dumps(stored) + "".join(log.read_text() for log in (served.state / "logs").iterdir())


def everything_written(store: CollectionStore, output: str) -> str:
    location = store.location(output)
    files = s3fs.S3FileSystem(**location.options)
    contents: dict[str, bytes] = files.cat(files.find(location.url))
    assert any("/runs/" in name for name in contents), "nothing was written, so this proves nothing"
    return b"".join(contents.values()).decode(errors="replace")


def test_a_block_given_by_reference_keeps_its_credentials(served: Served, store: CollectionStore) -> None:
    reference = {"$ref": {"block_document_id": str(store._block_document_id)}}
    run_id = served.started_run(job("by-reference") | {"collection_store": reference})
    assert served.await_state(run_id, "COMPLETED", "FAILED", "CRASHED")["state_type"] == "COMPLETED"
    assert SECRET not in everything_stored(served, run_id)
    assert SECRET not in everything_written(store, "by-reference")


def test_a_block_given_as_an_object_keeps_its_credentials(served: Served, store: CollectionStore) -> None:
    call = subprocess.run(
        [sys.executable, "-c", _PASSES_A_BLOCK, json.dumps(job("as-object"))],
        cwd=CLONE,
        env=served.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert call.returncode == 0, call.stderr
    (run,) = served.post("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    assert run["parameters"]["job"]["output"] == "as-object"
    assert SECRET not in call.stdout + call.stderr
    assert SECRET not in everything_stored(served, run["id"])
    assert SECRET not in everything_written(store, "as-object")

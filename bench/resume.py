"""What it costs to find out that nothing is left to do, in collections of millions.

The collections are written by hand: parts as a run leaves them, without pictures, which a resume never looks at.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.command_line import MODEL, press
from bench.findings import Findings, Row
from bench.rivals.ray_start import ray_is_here
from bench.trial import TrialFailed, run_rival
from bench.workload import Mix, write_requests
from pressrun import layout, manifest
from pressrun.collection import Identity, join_collection
from pressrun.location import Location
from pressrun.models.diffusers_folder import read_model
from pressrun.plan import name_images
from pressrun.prompts.file import read_requests
from pressrun.prompts.rules import ModelLimits
from pressrun.request import RequestDefaults
from pressrun.storage import Store

_PART_ROWS = 2000  # what a shard of the default size leaves


def compare_resume(findings: Findings, counts: tuple[int, ...], scratch: Path) -> None:
    """Resume finished collections, and finished Ray data sets from their checkpoints.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    counts : tuple of int
        Numbers of pictures held.
    scratch : Path
        Folder for manifests and checkpoints, removed as they are measured.
    """
    rows: list[Row] = []
    for count in counts:
        place = scratch / f"resume-{count}"
        place.mkdir(parents=True, exist_ok=True)
        prompts = write_requests(Mix(count), place / "prompts.parquet")
        write_finished(place / "press", prompts)
        findings.say(f"a finished collection of {count} pictures stands")
        run = press(prompts, place / "press", scratch / "home", {"embedder": "none"})
        rows.append(
            {
                "system": "Pressrun",
                "held": run.summary["held"],
                "run_s": run.summary["wall_s"],
                "whole_s": run.finished.wall_s,
                "taken by others": run.finished.foreign_share,
                "driver MiB": run.finished.driver_bytes / 2**20,
            }
        )
        if ray_is_here():
            rows.append(_ray_resume(prompts, place, count))
        findings.say(f"{count}: {rows[-1]}")
        shutil.rmtree(place)
    findings.show("resume with nothing to do", rows)


def write_finished(collection: Path, prompts: Path) -> None:
    """Write the manifest of a collection that holds every picture of a prompt file."""
    store = Store(Location(str(collection)))
    join_collection(store, Identity("", 0))
    facts = read_model(Location(str(MODEL)))
    limits = ModelLimits(facts.width_px, facts.height_px, facts.size_multiple_px)
    requests = name_images(read_requests(Location(str(prompts)), RequestDefaults(), limits), facts.revision)
    for start in range(0, requests.num_rows, _PART_ROWS):
        manifest.write_part(store, _held(requests.slice(start, _PART_ROWS), facts.revision))


def _held(requests: pa.Table, revision: str) -> pa.Table:
    count = requests.num_rows
    values = {
        "path": [layout.image(image_id) for image_id in requests.column("image_id").to_pylist()],
        "sha256": ["0" * 64] * count,
        "size_bytes": [10_000] * count,
        "model_name": ["shapes"] * count,
        "model_revision": [revision] * count,
        "batch_size": [16] * count,
        "provenance": ["{}"] * count,
        "seconds": [0.1] * count,
        "worker": ["0"] * count,
        "run_id": ["earlier"] * count,
        "created_at": [datetime.now(UTC)] * count,
    }
    columns = {name: requests.column(name) for name in requests.column_names}
    return pa.table(columns | values).cast(manifest.manifest_schema(0))


def _ray_resume(prompts: Path, place: Path, count: int) -> Row:
    checkpoint = place / "checkpoint"
    checkpoint.mkdir()
    ids = pq.read_table(prompts, columns=["id"])
    for start in range(0, count, _PART_ROWS):
        pq.write_table(ids.slice(start, _PART_ROWS), checkpoint / f"{start:09d}.parquet")
    settings = {"prompts": str(prompts), "folder": str(place / "ray"), "batch_size": 32}
    try:
        finished, result = run_rival(
            "null_ray", settings | {"checkpoint": str(checkpoint), "scratch": str(place.parent / "ray")}, place / "ray"
        )
    except TrialFailed as error:
        return {"system": "Ray Data, checkpoint", "held": count, "failed": str(error)[-200:]}
    return {
        "system": "Ray Data, checkpoint",
        "held": count - result["printed"],
        "run_s": result["drawing_s"],
        "whole_s": finished.wall_s,
        "taken by others": finished.foreign_share,
        "driver MiB": finished.driver_bytes / 2**20,
    }

"""Names of runs that a person can read and a machine can sort."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from prefect import runtime

from pressrun.location import Location


def new_run_id(flow_run_id: str | None) -> str:
    """Return a run id that sorts by time and leads to the flow run, as 20260102-030405-1a2b3c4d."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{str(flow_run_id)[:8]}"


def is_run_of(run_id: str, flow_run_id: UUID) -> bool:
    """Return whether a run id was made for the flow run."""
    return run_id.endswith(f"-{str(flow_run_id)[:8]}")


def run_name() -> str:
    """Return a flow run's name from its parameters, as "shapes: prompts.csv to out"."""
    job = runtime.flow_run.parameters["job"]
    prompts = job.prompts.rpartition("/")[2] if isinstance(job.prompts, str) else f"{len(job.prompts)} prompts"
    return f"{job.model.rstrip('/').rpartition('/')[2]}: {prompts} to {Location(job.output)}"


def release_name() -> str:
    """Return a release's flow run name from its parameters, as "sdxl-v4 against golden"."""
    release = runtime.flow_run.parameters["release"]
    return f"{release.model.rstrip('/').rpartition('/')[2]} against {Location(release.golden)}"

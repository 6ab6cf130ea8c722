"""The main job: a list of prompts becomes a finished, searchable collection."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.endings import cancelled, give_collection_free
from flows.parameters import GenerateParameters
from flows.run_names import new_run_id, run_name
from pressrun.errors import RunCancelled
from pressrun.summary import RunSummary
from tasks.check_quality import check_quality
from tasks.generate_batches import generate_batches
from tasks.index_outputs import index_outputs
from tasks.open_run import open_run
from tasks.provision_cache import provision_cache
from tasks.scale_out import scale_out
from tasks.tear_down import tear_down
from tasks.warm_model import warm_model

# Two shards at once, so that workers never drain at the end of one.
_SHARD_THREADS: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=2)


@flow(
    name="generate-images",
    description=__doc__,
    flow_run_name=run_name,
    task_runner=_SHARD_THREADS,
    on_cancellation=[give_collection_free],
    on_crashed=[give_collection_free],
)
def generate_images(job: GenerateParameters) -> RunSummary:
    """Generate every image that the job asks for and its collection does not hold.

    Parameters
    ----------
    job : GenerateParameters
        What to draw, with what, into where.

    Returns
    -------
    RunSummary
        How it ended; `outcome` tells whether every image is there.

    Raises
    ------
    RunCancelled
        When the run was cancelled from outside; the flow run ends as Cancelled.
    PressrunError
        When the job is refused or a stage fails; everything finished before is kept, and the same job run again goes on
        from there.
    """
    run = open_run(job.job(), new_run_id(runtime.flow_run.id))
    fleet = job.fleet()
    try:
        order = check_quality(run, fleet, provision_cache(run, fleet))
        speed = warm_model(run, fleet, order)
        scale_out(run, fleet, order, speed)
        generate_batches(run, fleet, order, speed)
        index_outputs(run, fleet, order)
    except RunCancelled as error:
        return cancelled(error)
    finally:
        summary = tear_down(run, fleet)
    return summary

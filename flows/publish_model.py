"""A model's release in five steps, so that no run is the first to wait for it, or to draw with a model gone wrong."""

from __future__ import annotations

from typing import cast

from prefect import flow, runtime

from flows.endings import cancelled
from flows.release_parameters import ReleaseParameters
from flows.run_names import new_run_id, release_name
from pressrun.errors import RunCancelled
from pressrun.release.release import ReleaseSummary
from tasks.check_golden import check_golden
from tasks.grow_cache import grow_cache
from tasks.open_release import open_release
from tasks.preload_model import preload_model
from tasks.shrink_cache import shrink_cache
from tasks.warm_workers import warm_workers
from tasks.write_golden import write_golden


@flow(name="publish-model", description=__doc__, flow_run_name=release_name)
def publish_model(release: ReleaseParameters) -> ReleaseSummary:
    """Bring a new revision to every host, warm the workers with it, and check it against golden pictures.

    Parameters
    ----------
    release : ReleaseParameters
        Which model, and which pictures it has to draw.

    Returns
    -------
    ReleaseSummary
        How it ended, with the numbers of the picture that is least like its golden one.

    Raises
    ------
    ReleaseRefused
        When a picture differs from its golden one more than allowed; the caches are as they were.
    RunCancelled
        When the release was cancelled from outside; the flow run ends as Cancelled.
    PressrunError
        When the release cannot be begun, or a stage fails.
    """
    opened = open_release(release.order(), new_run_id(runtime.flow_run.id))
    fleet = release.fleet()
    try:
        grow_cache(opened, fleet)
        preload_model(opened, fleet)
        warm_workers(opened, fleet)
        write_golden(opened, fleet)
        check_golden(opened, fleet)
    except RunCancelled as error:
        return cast("ReleaseSummary", cancelled(error))
    finally:
        summary = shrink_cache(opened, fleet)
    return summary

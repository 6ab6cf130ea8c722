"""How a flow run ends that did not run to its end: as Cancelled, and with its collection given free.

Knows nothing of stages. The hooks run in another process when the flow's own was killed, so all that they know is on
the server and in the collection.
"""

from __future__ import annotations

import json
from typing import Any, cast

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelled

from flows.run_names import is_run_of
from pressrun import layout
from pressrun.errors import RunCancelled
from pressrun.storage import Store
from pressrun.summary import RunSummary
from pressrun.writer_claim import drop_claim


def cancelled(error: RunCancelled) -> RunSummary:
    """Return the state in which a cancelled flow run ends; a plain Python caller gets the error raised from it."""
    state: State[Any] = Cancelled(message=str(error), data=error)
    return cast("RunSummary", state)  # Prefect takes a returned state for the run's end and never hands it on


def give_collection_free(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Drop the claim that a killed run left on its collection; a hook of the flow.

    What else a killed run leaves ends by itself: workers on its host with their parent, borrowed ones stay.
    """
    job = flow.validate_parameters(dict(flow_run.parameters))["job"].job()
    store = Store(job.collection)
    try:
        holder = json.loads(store.read(layout.WRITER))["run_id"]
    except FileNotFoundError:
        return  # the run's own tear-down has done it
    if is_run_of(holder, flow_run.id):
        drop_claim(store, holder)
        flow_run_logger(flow_run).info("gave %s free after the run was killed", store.location)

"""Noticing that a run was cancelled in the UI.

A flow that was called from plain Python has no runner to stop it, so it has to ask. Knows nothing of how work stops.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import FlowRunContext

_EVERY_S = 3.0
logger = logging.getLogger(__name__)


def is_cancelled() -> bool:
    """Return whether the current flow run was cancelled; False outside a flow run."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return False
    with get_client(sync_client=True) as client:
        return _was_cancelled(client, context.flow_run.id)


@contextmanager
def watching_for_cancellation(on_cancel: Callable[[], None]) -> Iterator[None]:
    """Call `on_cancel` once if the flow run is cancelled while the block runs.

    Parameters
    ----------
    on_cancel : callable
        Called from another thread.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        yield
        return
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(context.flow_run.id, on_cancel, ended), daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


def _watch(flow_run_id: UUID, on_cancel: Callable[[], None], ended: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not ended.wait(_EVERY_S):
            if _was_cancelled(client, flow_run_id):
                on_cancel()
                return


def _was_cancelled(client: SyncPrefectClient, flow_run_id: UUID) -> bool:
    try:
        state = client.read_flow_run(flow_run_id).state
    except Exception:  # a server that is away for a moment is no reason to stop
        logger.warning("the run's state could not be read", exc_info=True)
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())

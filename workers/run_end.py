"""A run's end, told to the workers that outlive it.

Knows nothing of why it ends. A tear-down has little time, so a worker that does not answer is not waited for: it finds
out by itself, see `workers.run_uses`.
"""

from __future__ import annotations

import asyncio
import logging
import threading

from distributed import Client

from workers.fleet import Fleet
from workers.run_uses import run_uses

_PATIENCE_S = 4.0  # of the 25 that a tear-down has

logger = logging.getLogger(__name__)


def leave_workers(fleet: Fleet, run_id: str) -> None:
    """Have every worker let go of what a run uses there, once its tasks have ended.

    Parameters
    ----------
    fleet : Fleet
        The workers; nothing is done where it is not open.
    run_id : str
        The run.
    """
    if fleet.client is None:
        return
    telling = threading.Thread(target=_tell, args=(fleet.client, run_id), name="run-end", daemon=True)
    telling.start()
    telling.join(_PATIENCE_S)


def _tell(client: Client, run_id: str) -> None:
    try:
        client.run(_end, run_id, on_error="ignore")
    except Exception:  # the cluster may be gone, and nothing of a run's end depends on this
        logger.debug("the workers could not be told of the run's end", exc_info=True)


async def _end(run_id: str) -> None:
    await asyncio.to_thread(run_uses().end, run_id)


__all__ = ["leave_workers"]

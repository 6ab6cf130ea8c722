"""Calls to certain workers and to no others, beside their tasks.

Knows nothing of what is called. A task that is meant for a worker goes to another one while its own is given none, as
one that waits to be warmed (`workers.waiting_room`); a direct call reaches that one too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distributed import Client, Worker


def call_each(client: Client, act: Callable[..., Any], arguments: Mapping[str, Sequence[object]]) -> dict[str, Any]:
    """Have workers do something at once, each in a thread of its own, and return what each returned, by address.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    act : callable
        What to do.
    arguments : mapping of str to sequence
        What it is called with, by the worker's address.

    Raises
    ------
    Exception
        What one of them raised, once all are done; an OSError when one is gone.
    """
    found: dict[str, Any] = client.run(_call, act, dict(arguments), workers=list(arguments))
    return found


async def _call(act: Callable[..., Any], arguments: Mapping[str, Sequence[object]], dask_worker: Worker) -> Any:
    return await asyncio.to_thread(act, *arguments[dask_worker.address])


__all__ = ["call_each"]

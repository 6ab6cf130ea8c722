"""Calls to certain workers and to no others, beside their tasks.

Knows nothing of what is called. A task that is meant for a worker goes to another one while its own is given none, as
one that waits to be warmed (`workers.waiting_room`); a direct call reaches that one too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextvars import ContextVar, copy_context
from typing import Any

from distributed import Client, Worker, get_worker

_called: ContextVar[Worker | None] = ContextVar("called", default=None)


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


async def in_thread(worker: Worker, executor: Executor | None, act: Callable[..., Any], *arguments: object) -> Any:
    """Have a worker that was called do something in a thread, in which `calling_worker` knows it.

    Parameters
    ----------
    worker : distributed.Worker
        The worker.
    executor : concurrent.futures.Executor or None
        Whose thread; None for one beside those of tasks.
    act : callable
        What to do.
    arguments : object
        What it is called with.
    """
    context = copy_context()
    context.run(_called.set, worker)
    return await asyncio.get_running_loop().run_in_executor(executor, context.run, act, *arguments)


def calling_worker() -> Worker | None:
    """Return the worker whose task or direct call this thread is at; None outside both."""
    try:
        return get_worker()
    except ValueError:
        return _called.get()


async def _call(act: Callable[..., Any], arguments: Mapping[str, Sequence[object]], dask_worker: Worker) -> Any:
    return await in_thread(dask_worker, None, act, *arguments[dask_worker.address])


__all__ = ["call_each", "calling_worker", "in_thread"]

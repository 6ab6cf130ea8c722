"""Dask workers of this process forked from one that has imported what they need, which is several times quicker.

They have the environment of the moment when the first was forked. The command lines that tests start, and tests that
ask for it, start workers afresh, as users do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver

import dask
from distributed.utils import get_mp_context

# Not torch: it takes its threads from the environment when it is imported, and each fleet sets its own.
_IMPORTED = ("workers.printing", "workers.preload")


def fork_workers() -> None:
    """Have the workers of all fleets that this process opens forked."""
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    server = forkserver._forkserver
    get_mp_context().set_forkserver_preload([*server._preload_modules, *_IMPORTED])


@contextmanager
def workers_afresh() -> Iterator[None]:
    """Have the workers of fleets that are opened inside the block started as they are for users."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}):
        yield


def forking_process() -> int | None:
    """Return the process that workers are forked from, if it runs; it stays until this one ends."""
    pid: int | None = forkserver._forkserver._forkserver_pid
    return pid

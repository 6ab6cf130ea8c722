"""A Dask preload for the worker processes that a run starts: silent, and deaf to Ctrl-C.

Knows nothing of what workers do.
"""

from __future__ import annotations

import logging
import signal


def dask_setup(worker: object) -> None:
    """Prepare a worker's process; called by Dask in it when the worker starts."""
    # A terminal's interrupt reaches every process of its group; the one that started the workers closes them in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A task's error travels to the run, which says what to do about it; here it would be a traceback on the terminal.
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)

"""Which runs this process has been told to stop, and which run a thread works for.

Knows nothing of tasks: cancelling a Dask future does not stop its running task, so renderers ask here between steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pressrun.errors import RunCancelled

_stopped: set[str] = set()
_current: ContextVar[str] = ContextVar("current", default="")


def stop_run(run_id: str) -> None:
    """Have every task of the run in this process end at its next step."""
    _stopped.add(run_id)


@contextmanager
def working_for(run_id: str) -> Iterator[None]:
    """Say that this thread works for a run; renderers outlive runs, so they cannot know it themselves.

    Raises
    ------
    RunCancelled
        When the run was told to stop.
    """
    if run_id in _stopped:
        raise RunCancelled(f"Run {run_id} was cancelled.")
    token = _current.set(run_id)
    try:
        yield
    finally:
        _current.reset(token)


def should_stop() -> bool:
    """Return whether the run that this thread works for was told to stop."""
    return _current.get() in _stopped

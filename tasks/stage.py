"""One stage of a run: timed in the run's account, and not begun once the run was cancelled.

Knows nothing of what the stages do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pressrun.errors import RunCancelled
from pressrun.ledger import Ledger
from tasks.cancellation_watch import is_cancelled


class Staged(Protocol):
    """What has stages: a run, or a release."""

    run_id: str
    ledger: Ledger


@contextmanager
def stage(run: Staged, name: str, doing: str) -> Iterator[None]:
    """Enter a block as a stage.

    Parameters
    ----------
    run : Staged
        The run or release that the stage is part of.
    name : str
        The stage's name.
    doing : str
        What goes on in it, for people who watch.

    Raises
    ------
    RunCancelled
        When the flow run was cancelled before the stage.
    """
    if is_cancelled():
        raise RunCancelled(f"Run {run.run_id} was cancelled before it could {name}.")
    with run.ledger.stage(name, doing):
        yield

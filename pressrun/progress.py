"""News of a run while it goes on, for whoever listens.

Knows nothing of terminals or of Prefect. Listeners are set for a context, so that the code that works need not know
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class News:
    """One thing that happened.

    Parameters
    ----------
    stage : str
        The stage that speaks.
    message : str
        One line for a person; "" when only the counts moved.
    done, total : int
        Images finished and wanted; both 0 outside generation.
    failed : int
        Images given up.
    note : str
        One line worth keeping in sight after its stage; "" for none.
    share : float or None
        How much of the stage is done, 0 to 1, with `message` saying it in words; None where images are counted, or
        nothing is.
    is_broken : bool
        Whether the stage ended by an error or an interruption; it may be tried again.
    """

    stage: str
    message: str = ""
    done: int = 0
    total: int = 0
    failed: int = 0
    note: str = ""
    share: float | None = None
    is_broken: bool = False


Listener = Callable[[News], None]
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `listener` called with the news of everything that runs inside the block."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def tell(news: News) -> None:
    """Pass news to every listener of this context."""
    for listener in _listeners.get():
        listener(news)

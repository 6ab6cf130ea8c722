"""News of weights on their way, every few seconds, while somebody else waits for them.

Knows nothing of how they come; asks a function that counts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context

from pressrun.cache.traffic_report import TrafficReport
from pressrun.cache.traffic_wording import progress
from pressrun.progress import News, tell

_EVERY_S = 2.0
_PATIENCE_S = 5.0  # for a last look at a scheduler that may be gone
logger = logging.getLogger(__name__)


@contextmanager
def telling_progress(report: Callable[[], TrafficReport], every_s: float = _EVERY_S) -> Iterator[None]:
    """Tell this context's listeners how far a bring is while the block runs, and at its end.

    Parameters
    ----------
    report : callable
        What has come so far; called from another thread. If it raises, nothing is told that time.
    every_s : float
        Seconds between two looks.
    """
    ended = threading.Event()
    teller = threading.Thread(target=copy_context().run, args=(_tell_until, ended, report, every_s), daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join(_PATIENCE_S)


def _tell_until(ended: threading.Event, report: Callable[[], TrafficReport], every_s: float) -> None:
    is_told = False
    while not ended.wait(every_s):
        is_told |= _tell(report)
    if is_told:  # else it was over before anybody could wonder
        _tell(report)


def _tell(report: Callable[[], TrafficReport]) -> bool:
    try:
        came = report()
        if not came.total.lacked_bytes:
            return False  # nothing was asked for yet, or all of it is there
        share, line = progress(came)
        tell(News("provision cache", line, share=share))
    except Exception:  # a scheduler that is busy must never stop a run for the sake of its progress
        logger.warning("how far the weights are could not be told", exc_info=True)
        return False
    return True


__all__ = ["telling_progress"]

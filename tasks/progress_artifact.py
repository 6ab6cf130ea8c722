"""The live progress artifact of a run in the Prefect UI.

Knows nothing of how images are made.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext

from pressrun.forecast import remaining_s
from pressrun.progress import News

_EVERY_S = 3.0
logger = logging.getLogger(__name__)


class ProgressArtifact:
    """A progress bar in the Prefect UI, updated every few seconds from the news.

    Parameters
    ----------
    description : str
        What is counted.
    clock : callable
        Monotonic seconds.
    key : str
        The artifact's name in the UI.
    """

    def __init__(self, description: str, clock: Callable[[], float] = time.monotonic, key: str = "progress") -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._last = clock()
        self._news = News("generate batches")
        self._artifact_id: UUID | None = None
        if FlowRunContext.get() is not None:
            made = create_progress_artifact(progress=0.0, key=key, description=description)
            self._artifact_id = cast("UUID", made)  # a coroutine only in asynchronous code

    def update(self, news: News) -> None:
        """Take news; the artifact follows at most every few seconds."""
        if not news.total and news.share is None:
            return
        with self._lock:
            self._news = news
            if self._clock() - self._last < _EVERY_S:
                return
            self._last = self._clock()
        self._show(news)

    def finish(self) -> None:
        """Show where things stand at the end."""
        self._show(self._news)

    def _show(self, news: News) -> None:
        if self._artifact_id is None:
            return
        share, text = self._told(news)
        try:
            update_progress_artifact(self._artifact_id, progress=100.0 * min(share, 1.0), description=text)
        except Exception:  # a server that is busy must never stop a run for the sake of a progress bar
            logger.warning("the progress artifact could not be updated", exc_info=True)

    def _told(self, news: News) -> tuple[float, str]:
        """Return how much is done, 0 to 1, and what there is to say of it."""
        if news.share is not None:
            return news.share, news.message
        elapsed_s = self._clock() - self._started
        rate = news.done / elapsed_s if elapsed_s else 0.0
        left_s = remaining_s(news.done, news.total, elapsed_s)
        left = f", {left_s:.0f} s left" if left_s else ""
        text = f"{news.done} of {news.total} images, {news.failed} failed, {rate:.1f} images/s{left}"
        return ((news.done + news.failed) / news.total if news.total else 1.0), text

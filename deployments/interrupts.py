"""Ctrl-C as a person means it: once is enough, and pressing it again does not break the tear-down off.

Knows nothing of what is being torn down.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def heard_once() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first Ctrl-C inside the block, and only answer the next ones.

    Outside the main thread, which alone gets signals, the block is left as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _answer)
    sys.stderr.write("\nstopping: closing the workers, a few seconds ...\n")
    raise KeyboardInterrupt


def _answer(number: int, frame: FrameType | None) -> None:
    sys.stderr.write("still stopping ...\n")

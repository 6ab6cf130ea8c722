"""Waiting for something to come about, for as long as a busy machine may need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 30.0


def until(condition: Callable[[], Any]) -> Any:
    """Return the condition's value as soon as there is one; otherwise fail."""
    gives_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < gives_up:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S:.0f} s")

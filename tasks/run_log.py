"""One log line a stage, in the flow run's own log.

Knows nothing of what the stages do.
"""

from __future__ import annotations

import logging

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger


def log_line(message: str) -> None:
    """Write one line to the run's log, or to the plain log outside a run."""
    try:
        get_run_logger().info(message)
    except MissingContextError:
        logging.getLogger("pressrun").info(message)

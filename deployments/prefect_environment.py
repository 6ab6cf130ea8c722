"""Prefect's settings for a command line: quiet, patient, and nothing sent anywhere.

Knows nothing of flows. Must run before Prefect is imported, which reads its settings once.
"""

from __future__ import annotations

import os

_STARTUP_TIMEOUT_S = "180"  # a fresh home is migrated first, which takes longer than Prefect's 20 s on small machines


def prepare_prefect(verbose: bool) -> None:
    """Set what the user has not set.

    Parameters
    ----------
    verbose : bool
        Whether Prefect's own log lines are wanted on the console.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", _STARTUP_TIMEOUT_S)
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_SERVER_LEVEL", "CRITICAL")

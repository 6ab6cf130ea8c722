"""Prefect's settings for a command line: quiet, patient, and nothing sent anywhere.

Knows nothing of flows. Must run before Prefect is imported, which reads its settings once.
"""

from __future__ import annotations

import os
from pathlib import Path

from pressrun.errors import InvalidJob

_STARTUP_TIMEOUT_S = "180"  # a fresh home is migrated first, which takes longer than Prefect's 20 s on small machines


def prepare_prefect(verbose: bool) -> None:
    """Set what the user has not set.

    Parameters
    ----------
    verbose : bool
        Whether Prefect's own log lines are wanted on the console.

    Raises
    ------
    InvalidJob
        When Prefect's home cannot be made.
    """
    _make_home()
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", _STARTUP_TIMEOUT_S)
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_SERVER_LEVEL", "CRITICAL")


def _make_home() -> None:
    """Make Prefect's home with its parents; Prefect makes the last folder alone, and fails late without the others."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidJob(
            f"Prefect's home {home} cannot be made ({error.strerror}); set PREFECT_HOME to a folder that you may "
            "write to."
        ) from error

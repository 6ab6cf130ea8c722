"""The command line `pressrun`.

Knows nothing of what the commands do; joins them, and turns their errors into exit codes.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

from cyclopts import App

from deployments.cache_command import cache
from deployments.console import ExitCode, err, show_error
from deployments.export_command import export
from deployments.generate_command import generate
from deployments.model_command import model
from deployments.plan_command import plan
from deployments.release_command import release
from deployments.replay_command import replay
from deployments.report_command import report
from deployments.search_command import search
from deployments.verify_command import verify
from pressrun.errors import (
    CacheFull,
    CacheInUse,
    CollectionBusy,
    InvalidCollection,
    InvalidExport,
    InvalidJob,
    InvalidModel,
    InvalidPrompts,
    InvalidQuery,
    PressrunError,
    QualityRefused,
    QuoteRefused,
    RunCancelled,
    StageFailed,
)

_REFUSALS = (
    CacheFull,
    CacheInUse,
    CollectionBusy,
    InvalidCollection,
    InvalidExport,
    InvalidJob,
    InvalidModel,
    InvalidPrompts,
    InvalidQuery,
    QualityRefused,
    QuoteRefused,
)
_EPILOGUE = """Exit codes: 0 done, 1 failed, 2 refused (no picture was made), 3 partial (see failures/), 4 flaws found,
130 interrupted, 143 terminated. A command that was interrupted goes on where it stopped when it is run again."""

app = App(
    name="pressrun",
    help="Turns a list of prompts into a finished, searchable, verifiable image collection.",
    help_epilogue=_EPILOGUE,
    version=lambda: version("pressrun"),
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `run` says what an interruption means
)
for command in (generate, plan, search, verify, replay, report, export, release):
    app.command(command)
app.command(cache)
app.command(model)


def main() -> None:
    """Run the command line and exit with one of `ExitCode`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : list of str
        The command and its options.

    Returns
    -------
    int
        The exit code; errors that Pressrun explains are shown without a traceback.
    """
    try:
        result = app(arguments, exit_on_error=True)
    except PressrunError as error:
        show_error(error)
        if isinstance(error, RunCancelled):
            return ExitCode.INTERRUPTED
        return ExitCode.REFUSED if isinstance(error, _REFUSALS) else ExitCode.FAILED
    except OSError as error:
        show_error(StageFailed(f"{error}. Look at the disk and at who may read and write there."))
        return ExitCode.FAILED
    except KeyboardInterrupt:
        err.print("[bold yellow]interrupted[/]; what is finished is kept, the same command goes on from here")
        return ExitCode.INTERRUPTED
    return int(result or ExitCode.DONE)

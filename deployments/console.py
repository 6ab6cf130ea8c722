"""How the command line speaks: two consoles, exit codes, and errors without tracebacks.

Knows nothing of the commands.
"""

from __future__ import annotations

from enum import IntEnum

from rich.console import Console
from rich.text import Text

from pressrun.errors import PressrunError

out = Console()
err = Console(stderr=True)


class ExitCode(IntEnum):
    """What a script can tell from a command's exit code."""

    DONE = 0
    FAILED = 1  # something broke; what is finished is kept, the same command goes on from there
    REFUSED = 2  # the input is wrong, or a quality, deadline or budget cannot be met; no picture was made
    PARTIAL = 3  # every image but those in failures/
    UNSOUND = 4  # verify or replay found flaws
    INTERRUPTED = 130


def show_error(error: PressrunError) -> None:
    """Show an error as a person should read it; every line of it, since each bad row wants mending."""
    # As Text, not as markup: prompts and paths may hold brackets, and colons around a word are no emoji here.
    err.print(Text.assemble(("error:", "bold red"), " ", str(error)), soft_wrap=True)

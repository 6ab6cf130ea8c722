"""How the command line speaks: two consoles, exit codes, and errors without tracebacks.

Knows nothing of the commands.
"""

from __future__ import annotations

from enum import IntEnum

from rich.console import Console

from pressrun.errors import InvalidPrompts, PressrunError

out = Console()
err = Console(stderr=True)
_MOST_PROBLEMS = 50


class ExitCode(IntEnum):
    """What a script can tell from a command's exit code."""

    DONE = 0
    FAILED = 1  # something broke; what is finished is kept, the same command goes on from there
    REFUSED = 2  # the input is wrong; nothing was started
    PARTIAL = 3  # every image but those in failures/
    UNSOUND = 4  # verify found flaws
    INTERRUPTED = 130


def show_error(error: PressrunError) -> None:
    """Show an error as a person should read it; a long list of bad rows is cut."""
    if not isinstance(error, InvalidPrompts):
        err.print(f"[bold red]error:[/] {_escaped(str(error))}", soft_wrap=True)
        return
    head, *problems = str(error).splitlines()
    err.print(f"[bold red]error:[/] {_escaped(head)}", soft_wrap=True)
    for problem in problems[:_MOST_PROBLEMS]:
        err.print(_escaped(problem), soft_wrap=True)
    if len(problems) > _MOST_PROBLEMS:
        err.print(f"  ... and {len(problems) - _MOST_PROBLEMS} more; `pressrun plan --all-problems` lists them.")


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")

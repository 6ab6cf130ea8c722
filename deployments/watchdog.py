"""Runs a command that ends with its owner: `python -m deployments.watchdog COMMAND ...`, owner on standard input.

Knows nothing of what the command does. Reads nothing; the end of its input is the signal, and a killed owner gives it
as surely as one that ends in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

_GRACE_S = 4.0  # Prefect kills its server, which is this process to it, 5 s after it asked it to end


def main(command: list[str]) -> int:
    """Run the command and return its exit code; a termination of this process, or its owner's end, ends it."""
    signal.signal(signal.SIGTERM, _leave)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        threading.Thread(target=_follow_owner, daemon=True).start()
        return process.wait()
    finally:
        _end(process)


def _follow_owner() -> None:
    while os.read(0, 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; the command is being ended
    sys.exit(-number)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

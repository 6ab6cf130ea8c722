"""Ends a process when its owner is gone: `python -m deployments.watchdog PID CREATE_TIME`, owner on standard input.

Knows nothing of what the process is. Reads nothing; the end of its input is the signal.
"""

from __future__ import annotations

import sys

import psutil


def main(pid: int, created: float) -> None:
    """Wait for the owner's end, then end the process if it is still the one that was meant."""
    sys.stdin.read()
    try:
        process = psutil.Process(pid)
        if process.create_time() == created:  # process ids are used again
            process.terminate()
            process.wait(10)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))

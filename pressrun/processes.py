"""Whose process id it is that somebody wrote down, and whether that process still runs.

Knows nothing of what is written down with it. A process id means something only on the host and in the container that
gave it: two containers of one host, or two hosts of one name, have the same ids for different processes.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = "/proc/self/ns/pid"
_START_TOLERANCE_S = 1.5


def this_process() -> dict[str, Any]:
    """Return what another process needs to find this one again: its place, its id and when it began."""
    process = psutil.Process()
    return {**_place(), "pid": process.pid, "process_started": process.create_time()}


def is_of_this_place(process: Mapping[str, Any]) -> bool:
    """Return whether a record of `this_process` was made where process ids mean the same as here.

    False where that cannot be known, as on systems that name neither boots nor containers.
    """
    here = _place()
    return all(here.values()) and all(process.get(name) == value for name, value in here.items())


def is_running(process: Mapping[str, Any]) -> bool:
    """Return whether a process of this place still runs."""
    try:
        found = psutil.Process(int(process["pid"]))
        # Process ids are used again, after a container's restart even this process's own. The start time moves a little
        # when the host's clock is set.
        is_same = abs(found.create_time() - float(process["process_started"])) < _START_TOLERANCE_S
        return is_same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def place_digest() -> str:
    """Return a short name for the place, fit for a file's name."""
    return hashlib.blake2b("\n".join(_place().values()).encode(), digest_size=6).hexdigest()


def _place() -> dict[str, str]:
    return {"host": socket.gethostname(), "boot": _boot_id(), "pid_namespace": _pid_namespace()}


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:  # not a Linux
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink(_PID_NAMESPACE)
    except OSError:  # not a Linux
        return ""

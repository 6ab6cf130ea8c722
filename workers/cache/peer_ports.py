"""The ports at which a host may serve chunks to others, where a firewall lets only some through.

Knows nothing of what is served.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable

PORT_VARIABLE = "PRESSRUN_CACHE_PORT"
_PORTS = re.compile(r"(\d{1,5})(?::(\d{1,5}))?")
_MOST = 65535


def first_free(listen: Callable[[int], socket.socket]) -> socket.socket:
    """Return a listener at the first of the host's ports that nobody has; 0 has the system choose.

    Parameters
    ----------
    listen : callable
        Listens at a port.

    Raises
    ------
    ValueError
        When the variable names no ports.
    OSError
        When none can be listened at.
    """
    text = os.environ.get(PORT_VARIABLE, "").strip()
    for port in _ports(text):
        try:
            return listen(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"each of {PORT_VARIABLE}={text} is taken on this host; give it more of them")


def _ports(text: str) -> range:
    if not text:
        return range(1)
    found = _PORTS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= _MOST:
        raise ValueError(f"{PORT_VARIABLE}={text} names no ports; write it as 8790 or 8790:8799.")
    return range(first, last + 1)


__all__ = ["PORT_VARIABLE", "first_free"]

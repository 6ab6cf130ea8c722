"""Several processes that stand for hosts: each pulls the model into a folder of its own, all at once.

Knows nothing of how it is pulled. Imports, connections and listings come before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

from bench.rivals.parts import Settings, clock

Pull = Callable[[], None]
# Given the settings and the host's folder, gets ready and returns what pulls; importable by name.
OpenPull = Callable[[Settings, Path], Pull]
_READY_WITHIN_S = 300.0


def pull_together(settings: Settings, open_pull: OpenPull) -> dict[str, Any]:
    """Pull on every host at once.

    Parameters
    ----------
    settings : dict
        "hosts", the number of hosts, "folder", where each has a folder "host-<number>", and what `open_pull` reads.
    open_pull : callable
        Makes a host ready.

    Returns
    -------
    dict
        "seconds" from the moment when all are ready until the last has everything.
    """
    context, count = get_context("spawn"), int(settings["hosts"])
    ready, ended = context.Barrier(count + 1), context.Array("d", count)
    hosts = [context.Process(target=_host, args=(open_pull, settings, number, ready, ended)) for number in range(count)]
    for host in hosts:
        host.start()
    with suppress(BrokenBarrierError):  # a host that failed to get ready says so by its exit code
        ready.wait(_READY_WITHIN_S)
    started_s = clock()
    for host in hosts:
        host.join()
    failed = [number for number, host in enumerate(hosts) if host.exitcode != 0]
    if failed:
        raise RuntimeError(f"{len(failed)} of {count} hosts failed to pull, the first is host {failed[0]}; see above")
    return {"seconds": max(ended[:]) - started_s}


def host_folder(settings: Settings, number: int) -> Path:
    """Return a host's folder, made if missing."""
    folder = Path(settings["folder"]) / f"host-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _host(open_pull: OpenPull, settings: Settings, number: int, ready: Any, ended: Any) -> None:
    try:
        pull = open_pull(settings, host_folder(settings, number))
    except BaseException:
        ready.abort()
        raise
    ready.wait(_READY_WITHIN_S)
    pull()
    ended[number] = clock()


__all__ = ["OpenPull", "Pull", "host_folder", "pull_together"]

"""Tasks sent to a certain worker, which any other may do where that one is gone.

Dask has such a wish, and one gap in it: a task that finds no worker at all when it comes, or comes back, is looked at
again for the named worker alone. That one never returns under its address, so the task would wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from distributed import Client, Future, Scheduler, SchedulerPlugin
from distributed.core import Status

_AT_WORK = Status.running.name
_TOLD: WeakSet[Client] = WeakSet()  # clients whose scheduler has the plugin


class Wishes(SchedulerPlugin):  # type: ignore[misc]  # distributed carries no types
    """Forgets whom a task wishes for once nobody at all is there to run it, so that whoever comes first does."""

    idempotent = True
    name = "pressrun-wishes"

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to look after tasks; called by Dask on the scheduler."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        """Let go of a wish that nobody can grant; called by Dask whenever a task's state changes."""
        if finish == "no-worker" and (task := self._scheduler.tasks[key]).loose_restrictions:
            task.worker_restrictions = None


def takers(client: Client) -> dict[str, dict[str, Any]]:
    """Return what is known of the workers that take tasks now, by address; of all that are there, where none does.

    A run may keep others waiting for as long as it lasts, and what is bound to one of these would wait as well.
    """
    workers: dict[str, dict[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return {address: worker for address, worker in workers.items() if worker["status"] == _AT_WORK} or workers


def addresses(client: Client) -> list[str]:
    """Return the addresses of `takers`."""
    return list(takers(client))


def submit_to(client: Client, address: str, act: Callable[..., Any], *arguments: object) -> Future:
    """Have a worker do something, or another one where that is gone.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    address : str
        The worker.
    act : callable
        What to do; called there with `arguments`, perhaps a second time elsewhere when a worker dies.
    """
    if client not in _TOLD:
        client.register_plugin(Wishes())
        _TOLD.add(client)
    return client.submit(act, *arguments, workers=[address], allow_other_workers=True, pure=False)


__all__ = ["Wishes", "addresses", "submit_to", "takers"]

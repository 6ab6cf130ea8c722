"""The cache's registry on the Dask scheduler: hears the workers' news, and pushes out what hosts are to do.

Knows nothing of chunks; `pressrun.cache.registry` decides.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

from distributed import Scheduler, SchedulerPlugin
from tornado.ioloop import PeriodicCallback

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.cache.messages import Alive, Command, Dropped, Failed, Got, Holds, Joined, Left, Unwanted, Wants
from pressrun.cache.registry import Registry
from pressrun.cache.sources import Limits
from pressrun.cache.traffic_report import TrafficReport
from workers.cache.channel import Answer, Ask, Budget, Message, Stands, packed, stream_op, unpacked
from workers.cache.leaving import LONGEST_S

_TICK_MS = 1000
_LAST_S = LONGEST_S + 5.0
_MANIFESTS = 64  # of some megabytes each at most
_GATHER_S = 0.003  # news of that long at least is answered together
_REST = 1  # times as long as an answer took, the scheduler does other things
_News = Left | Holds | Dropped | Wants | Unwanted | Got | Failed | Alive

logger = logging.getLogger(__name__)


class CacheRegistry(SchedulerPlugin):  # type: ignore[misc]  # distributed carries no types
    """The registry of one cache folder and tenant in one cluster.

    Parameters
    ----------
    channel : str
        Name of the cache in the cluster.
    limits : Limits
        What may happen at once, and how long anybody waits.
    """

    idempotent = True

    def __init__(self, channel: str, limits: Limits) -> None:
        self.channel = channel
        self.name = stream_op(channel)
        self._limits = limits
        self._keepers: dict[str, str] = {}
        self._manifests: dict[str, ChunkManifest] = {}
        self._asks: dict[tuple[str, str], Ask] = {}
        self._askers: dict[tuple[str, str], set[str]] = {}
        self._under_way: set[tuple[str, str]] = set()  # asks that the host's keeper has
        self._standing: dict[str, dict[str, str]] = {}  # by host and worker, why it cannot keep
        self._budget: Budget | None = None
        self._budgeted: set[str] = set()  # hosts that were told of it
        self._will_speak = False
        self._rest_s = _GATHER_S

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to listen; called by Dask on the scheduler."""
        self._scheduler = scheduler
        self._registry = Registry(self._limits)
        scheduler.stream_handlers[self.name] = self._hear
        self._ticks = PeriodicCallback(self._tick, _TICK_MS)
        self._ticks.start()

    async def close(self) -> None:
        """Stop keeping time; called by Dask when the scheduler closes."""
        self._ticks.stop()

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Pass the leases of a keeper that is gone on; called by Dask."""
        for askers in self._askers.values():
            askers.discard(worker)
        for host in [host for host, standing in self._standing.items() if standing.pop(worker, None) is not None]:
            self._part(host, worker)
        for key in [key for key, askers in self._askers.items() if not askers]:  # else its host has it brought one day
            del self._askers[key], self._asks[key]

    def offer(self, manifest: ChunkManifest) -> None:
        """Have keepers use this manifest of its revision; of many revisions, the newest are remembered."""
        self._manifests.pop(manifest.revision, None)
        self._manifests[manifest.revision] = manifest
        for revision in list(self._manifests)[:-_MANIFESTS]:
            del self._manifests[revision]

    def set_budget(self, budget_bytes: int) -> None:
        """Have every host keep to this budget, and those that come later too; the one that was set last counts."""
        self._budget, self._budgeted = Budget(budget_bytes), set(self._keepers)
        for keeper in self._keepers.values():
            self._say(keeper, self._budget)

    def traffic(self) -> TrafficReport:
        """Return what came from where since the cache was joined."""
        return self._registry.traffic.snapshot(time.monotonic())

    def _hear(self, worker: str, packed: bytes) -> None:
        try:
            self._take(worker, unpacked(packed))
        except Exception:  # it would end the worker's stream, and with it the worker
            logger.exception("the cache's registry could not take in a message from %s", worker)

    def _take(self, worker: str, message: Message) -> None:
        if isinstance(message, Ask):
            self._asks.setdefault(message.key, message)
            self._askers.setdefault(message.key, set()).add(worker)
            self._pass_on(message)
            self._give_up(message.host)
        elif isinstance(message, Stands):
            self._standing.setdefault(message.host, {})[worker] = message.problem
            if message.problem:
                self._part(message.host, worker)
        elif isinstance(message, Joined):
            self._join(worker, message)
        elif isinstance(message, Answer | _News):
            if self._keepers.get(message.host) != worker:  # the host has another now, whose news count
                logger.debug("%s came late from %s", type(message).__name__, worker)
            elif isinstance(message, Answer):
                self._answer(message)
            else:
                self._registry.tell(message, time.monotonic())
                self._speak_soon()

    def _join(self, worker: str, joined: Joined) -> None:
        self._keepers[joined.host] = worker
        if worker not in self._scheduler.stream_comms:  # it was retired, and hands over what its host alone has
            self._scheduler.loop.call_later(_LAST_S, self._forget, worker)
        self._standing.setdefault(joined.host, {})[worker] = ""
        if self._budget is not None:  # before anything is asked for
            self._say(worker, replace(self._budget, is_known=joined.host in self._budgeted))
            self._budgeted.add(joined.host)
        self._registry.tell(joined, time.monotonic())
        self._free_hands(joined.host)
        for ask in [ask for ask in self._asks.values() if ask.host == joined.host]:
            self._pass_on(ask)
        self._speak_soon()

    def _forget(self, worker: str) -> None:
        if worker not in self._scheduler.stream_comms:  # else one that came back under its address since
            self.remove_worker(self._scheduler, worker)

    def _pass_on(self, ask: Ask) -> None:
        keeper = self._keepers.get(ask.host)
        if keeper is not None and ask.key not in self._under_way:  # without one, the next one gets it when it joins
            self._under_way.add(ask.key)
            self._say(keeper, replace(ask, manifest=self._manifests.get(ask.manifest.revision, ask.manifest)))

    def _answer(self, answer: Answer) -> None:
        key = (answer.host, answer.revision)
        self._asks.pop(key, None)
        self._under_way.discard(key)
        for asker in self._askers.pop(key, ()):
            self._say(asker, answer)

    def _part(self, host: str, worker: str) -> None:
        """Take a host's part from a worker that cannot keep it, if it is the keeper."""
        if self._keepers.get(host) == worker:
            del self._keepers[host]
            self._free_hands(host)
            self._registry.tell(Left(host), time.monotonic())
            self._speak_soon()
        self._give_up(host)

    def _free_hands(self, host: str) -> None:
        self._under_way = {key for key in self._under_way if key[0] != host}

    def _give_up(self, host: str) -> None:
        """Answer what is asked for on a host of whose workers none can keep its part."""
        standing = self._standing.get(host, {})
        if not standing:
            self._standing.pop(host, None)
        elif all(standing.values()):
            problem = f"No worker of {host} can keep its part of the cache: {next(iter(standing.values()))}"
            for ask in [ask for ask in self._asks.values() if ask.host == host]:
                self._answer(Answer(*ask.key, problem=problem))

    def _tick(self) -> None:
        now_s = time.monotonic()
        self._send(self._registry.second_tries(now_s))
        if not self._will_speak:  # else each tick would begin a sequence of its own beside the one that is under way
            self._speak()

    def _speak_soon(self) -> None:
        if not self._will_speak:
            self._will_speak = True
            self._scheduler.loop.call_later(self._rest_s, self._speak)

    def _speak(self) -> None:
        self._will_speak, began_s = False, time.monotonic()
        self._send(self._registry.commands(began_s))
        self._rest_s = max(_GATHER_S, _REST * (time.monotonic() - began_s))
        if self._registry.has_more:
            self._speak_soon()

    def _send(self, commands: list[Command]) -> None:
        for command in commands:
            keeper = self._keepers.get(command.host)
            if keeper is not None:
                self._say(keeper, command)

    def _say(self, worker: str, message: Message) -> None:
        if worker in self._scheduler.stream_comms:
            self._scheduler.worker_send(worker, packed(self.channel, message))


__all__ = ["CacheRegistry"]

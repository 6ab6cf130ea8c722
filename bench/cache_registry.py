"""What the cache's registry costs the scheduler: `python -m bench.cache_registry --json registry.json`.

Only the pure registry is at work, with events as they come off the wire and every flight answered. Cases: `cold`
(nobody has anything), `half` (each host has another half), `seeds` (a tenth of the hosts has all), `announced` (one
host tells that it has all, once the others want it), `lost` (the origin is away for good). The time is the registry's
own: without the wire, and without Dask. Each row has a process of its own, stopped after some seconds of events.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import multiprocessing
import pickle
import random
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import App, Parameter

from bench.findings import Findings, Row
from pressrun.cache.messages import ORIGIN, Command, Event, Failed, Fetch, Got, Holds, Joined, WantedChunk, Wants
from pressrun.cache.registry import Registry

Case = Literal["cold", "half", "seeds", "announced", "lost"]
_ALL: tuple[Case, ...] = get_args(Case)
_Numbers = Annotated[tuple[int, ...], Parameter(consume_multiple=True)]
_CHUNK_BYTES = 8 * 2**20
_GATHER_S, _TICK_S = 0.003, 1.0  # as the scheduler's part asks for commands
_FLIGHT_S = (0.05, 0.2)
_ZONES = 4
app = App(name="bench.cache_registry", help=__doc__)


@dataclass(slots=True)
class Load:
    """Events for a registry, answers included, with the time that each call takes."""

    registry: Registry = field(default_factory=Registry)
    now_s: float = 0.0
    events: int = 0
    registry_s: float = 0.0
    longest_s: float = 0.0
    longest: str = ""
    answers: list[tuple[float, int, Event]] = field(default_factory=list)
    _numbers: Iterable[int] = field(default_factory=itertools.count)
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def tell(self, event: Event) -> None:
        """Pass an event in, with strings of its own."""
        came: Event = pickle.loads(pickle.dumps(event))
        self.events += 1
        self._timed(type(event).__name__, lambda: self.registry.tell(came, self.now_s))

    def ask(self, second_tries: bool = False) -> list[Command]:
        """Return commands, and have fetches answered after a while."""
        commands: list[Command] = []
        if second_tries:
            self._timed("second_tries", lambda: commands.extend(self.registry.second_tries(self.now_s)))
        self._timed("commands", lambda: commands.extend(self.registry.commands(self.now_s)))
        for order in commands:
            if isinstance(order, Fetch):
                took_s = self._random.uniform(*_FLIGHT_S)
                got = Got(order.host, order.chunk_id, order.source, took_s, f"hash of {order.chunk_id}")
                heapq.heappush(self.answers, (self.now_s + took_s, next(iter(self._numbers)), got))
        return commands

    def run(self, seconds: float) -> None:
        """Answer flights until all is over, or for so long by the clock on the wall."""
        until, tick_s = time.monotonic() + seconds, self.now_s
        while (self.answers or self.registry.has_more) and time.monotonic() < until:
            since_s = self.now_s if self.registry.has_more else self.answers[0][0]
            gathered_s = since_s + _GATHER_S
            while self.answers and self.answers[0][0] <= gathered_s:
                self.now_s, _, event = heapq.heappop(self.answers)  # time does not run backwards: answers are later
                self.tell(event)
            self.now_s = gathered_s
            ticks = self.now_s > tick_s + _TICK_S
            tick_s = self.now_s if ticks else tick_s
            self.ask(second_tries=ticks)

    def _timed(self, what: str, call: Callable[[], None]) -> None:
        began = time.perf_counter()
        call()
        took_s = time.perf_counter() - began
        self.registry_s += took_s
        if took_s > self.longest_s:
            self.longest_s, self.longest = took_s, what


def measure(case: Case, hosts: int, chunks: int, seconds: float) -> Row:
    """Return one row of the table; memory is what this process took at most.

    Parameters
    ----------
    case : str
        Who has what at first.
    hosts, chunks : int
        How many.
    seconds : float
        How long to answer flights.
    """
    gc.disable()  # its pauses are the process's, not one event's
    load, names = Load(), [f"host-{number:04}" for number in range(hosts)]
    for number, name in enumerate(names):
        load.tell(Joined(name, f"zone-{number % _ZONES}", f"{name}:1"))
    for number, name in enumerate(names):
        has = _had(case, number, hosts, chunks)
        wanted = tuple(WantedChunk(_chunk(index), _CHUNK_BYTES) for index in range(chunks) if index not in has)
        load.tell(Holds(name, {_chunk(index): f"hash of {_chunk(index)}" for index in has}))
        if case != "announced" or number:
            load.tell(Wants(name, wanted))
    if case == "announced":
        load.tell(Holds(names[0], {_chunk(index): f"hash of {_chunk(index)}" for index in range(chunks)}))
    load.ask()
    if case == "lost":
        _lose_origin(load)
    load.run(seconds)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "case": case,
        "hosts": hosts,
        "chunks": chunks,
        "events": load.events,
        "ms/event": load.registry_s / load.events * 1000,
        "largest call": load.longest,
        "largest ms": load.longest_s * 1000,
        "MiB": peak_mib,
    }


def _chunk(index: int) -> str:
    return f"unet/diffusion_pytorch_model.safetensors:0123456789abcdef0123456789abcdef:{index}"


def _had(case: Case, number: int, hosts: int, chunks: int) -> set[int]:
    if case == "half":
        return set(random.Random(number).sample(range(chunks), chunks // 2))
    return set(range(chunks)) if case == "seeds" and number < max(1, hosts // 10) else set()


def _lose_origin(load: Load) -> None:
    for later_s in (150.0, 151.0, 150.0):
        failed = [event for _, _, event in load.answers if isinstance(event, Got) and event.source == ORIGIN]
        load.answers.clear()
        for event in failed:
            load.tell(Failed(event.host, event.chunk_id, ORIGIN, "origin", "it is shut"))
        load.now_s += later_s
        load.ask(second_tries=True)


@app.default
def cache_registry(
    *,
    hosts: _Numbers = (100, 300, 1000),
    chunks: _Numbers = (1000, 10_000),
    cases: Annotated[tuple[Case, ...], Parameter(consume_multiple=True)] = _ALL,
    seconds: float = 3.0,
    json: Path | None = None,
) -> None:
    """Measure and show.

    Parameters
    ----------
    hosts, chunks : tuple of int
        Numbers of hosts, and of chunks that each wants.
    cases : tuple of str
        Who has what at first.
    seconds : float
        How long flights are answered, a row.
    json : Path
        File for the figures.
    """
    findings, rows = Findings(path=json), []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        for what in itertools.product(cases, hosts, chunks):
            rows.append(processes.apply(measure, (*what, seconds)))
            findings.say(str(dict(rows[-1])))
    findings.show("the cache's registry", rows)


if __name__ == "__main__":
    app()

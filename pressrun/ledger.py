"""What happened in a run so far: stage times, counts, speed over time.

Knows nothing of who reads it; safe to write to from several threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pressrun.cache.traffic_report import TrafficReport
from pressrun.engine_options import OptionTrial
from pressrun.failures import Failure
from pressrun.profile import Profile
from pressrun.progress import News, tell
from pressrun.quote import Quote

_MOST_POINTS = 10_000


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counts:
    """Images of a run by what became of them.

    Parameters
    ----------
    done : int
        Committed by this run.
    failed : int
        Given up.
    total : int
        Wanted at the start, without those that were held already.
    """

    done: int
    failed: int
    total: int


@dataclass(slots=True)
class Ledger:
    """The running account of one run.

    Parameters
    ----------
    total : int
        Images to render.
    clock : callable
        Monotonic seconds.

    Attributes
    ----------
    stages : dict of str to float
        Seconds by stage, in the order they were entered.
    broken_stage : str
        The stage that raised last; "" when none did.
    broken_by : str
        What it raised.
    opening_s : float
        Seconds that the fleet took to open.
    ready_workers : int
        Workers that were warm before scale-out.
    start_s : float
        Seconds from nothing to a warm worker.
    quote : Quote or None
        What was quoted before scale-out; None when no speed was known.
    points : list of (float, int)
        Seconds since generating began, and images done by then; of a long run every second, fourth, ... entry and the
        last.
    traffic : TrafficReport or None
        How the models' files came to the hosts; None where nothing had to be brought.
    read_traffic : callable or None
        Reads it anew while the fleet is open.
    searches : dict of str to list of (str, float)
        Example queries, and the ids and scores of what they find.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    stages: dict[str, float] = field(default_factory=dict)
    broken_stage: str = ""
    broken_by: str = ""
    points: list[tuple[float, int]] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = ()
    trials: tuple[OptionTrial, ...] = ()
    opening_s: float = 0.0
    ready_workers: int = 0
    coming_workers: int = 0
    start_s: float = 0.0
    quote: Quote | None = None
    workers: int = 0
    provenance: dict[str, str | int] = field(default_factory=dict)
    render_s: float = 0.0
    publish_s: float = 0.0
    halvings: int = 0
    searches: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    origin_bytes: int = 0
    traffic: TrafficReport | None = None
    read_traffic: Callable[[], TrafficReport] | None = None
    reused: int = 0
    generating_since: float | None = None
    opened_at: float = field(default=0.0, init=False)
    _done: set[str] = field(default_factory=set)  # of open shards; ids of all images would fill the memory
    _closed: set[int] = field(default_factory=set)
    _closed_images: int = 0
    _entries: int = 0
    _entries_a_point: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Start the clock."""
        self.opened_at = self.clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began to be opened."""
        return self.clock() - self.opened_at

    @property
    def counts(self) -> Counts:
        """How many images are done, failed and wanted."""
        with self._lock:
            return Counts(self._done_images, len(self.failures), self.total)

    def take_traffic(self) -> None:
        """Read the traffic once more, as workers that came later have their share in it."""
        if self.read_traffic is None:
            return
        try:
            report = self.read_traffic()
            self.traffic = report if report.hosts or self.traffic else None
        except Exception:  # a scheduler that is gone must not cost a run its pictures
            logger.warning("how the weights came to the hosts could not be read", exc_info=True)

    def done_ids(self) -> list[str]:
        """Return the ids of the images that this run has committed in shards which are still open."""
        with self._lock:
            return list(self._done)

    def close_shard(self, number: int, image_ids: list[str]) -> None:
        """Keep of a finished shard no more than how many of its images are done.

        Parameters
        ----------
        number : int
            The shard's; closing it again changes nothing.
        image_ids : list of str
            All of its images, done or failed; none of them is entered again.
        """
        with self._lock:
            if number in self._closed:
                return
            done = self._done.intersection(image_ids)
            self._done -= done
            self._closed.add(number)
            self._closed_images += len(done)

    def is_closed(self, number: int) -> bool:
        """Return whether a shard was closed."""
        with self._lock:
            return number in self._closed

    def _add_point(self, point: tuple[float, int]) -> None:
        if self._entries % self._entries_a_point:
            self.points.pop()  # it stood for the end of the run only
        self._entries += 1
        self.points.append(point)
        if len(self.points) > _MOST_POINTS and self._entries % (2 * self._entries_a_point) == 0:
            self.points = self.points[::2]
            self._entries_a_point *= 2

    @property
    def _done_images(self) -> int:
        return len(self._done) + self._closed_images

    @contextmanager
    def stage(self, name: str, message: str) -> Iterator[None]:
        """Time a stage and announce it; a stage entered again adds up."""
        tell(News(name, message))
        started = self.clock()
        try:
            yield
        except BaseException as error:
            self.broken_stage = name
            self.broken_by = f"{type(error).__name__}: {error}"
            tell(News(name, is_broken=True))
            raise
        else:
            if self.broken_stage == name:  # it was tried again; the tear-down after a broken stage mends nothing
                self.broken_stage = ""
        finally:
            with self._lock:
                self.stages[name] = self.stages.get(name, 0.0) + self.clock() - started

    def start_generating(self) -> None:
        """Set the zero of `points`; later calls change nothing."""
        if self.generating_since is None:
            self.generating_since = self.clock()
            self.points.append((0.0, 0))

    def add(self, image_ids: list[str], failures: tuple[Failure, ...], times_s: tuple[float, float]) -> None:
        """Enter a finished batch.

        Parameters
        ----------
        image_ids : list of str
            Committed images; one entered twice counts once.
        failures : tuple of Failure
            Dead letters.
        times_s : tuple of float
            Rendering and publishing time.
        """
        self.start_generating()
        with self._lock:
            self._done.update(image_ids)
            self.failures.update({failure.image_id: failure for failure in failures})
            for image_id in self._done & self.failures.keys():
                del self.failures[image_id]
            self.render_s += times_s[0]
            self.publish_s += times_s[1]
            self._add_point((self.clock() - (self.generating_since or 0.0), self._done_images))
        counts = self.counts
        tell(News("generate batches", "", counts.done, counts.total, counts.failed))

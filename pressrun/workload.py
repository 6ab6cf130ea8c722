"""What is left to draw, as batches and the seconds they take.

Knows nothing of workers or money.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pressrun.batch import BUCKET_FIELDS
from pressrun.batch_sizes import BatchSizes, Shape, count_buckets, shape_of
from pressrun.profile import Profile

_STEPS = BUCKET_FIELDS.index("steps")


@dataclass(frozen=True, slots=True)
class Load:
    """Batches that take equally long.

    Parameters
    ----------
    batches : int
        How many, 1 or more.
    batch_s : float
        Seconds that one worker is busy with one of them.
    """

    batches: int
    batch_s: float


@dataclass(frozen=True, slots=True)
class Workload:
    """All that a job has left to draw.

    Parameters
    ----------
    images : int
        Pictures.
    loads : tuple of Load
        Their batches.
    """

    images: int
    loads: tuple[Load, ...]

    @property
    def batches(self) -> int:
        """Batches in all."""
        return sum(load.batches for load in self.loads)

    @property
    def drawing_s(self) -> float:
        """Seconds of drawing in all, by one worker or shared by several."""
        return sum(load.batches * load.batch_s for load in self.loads)

    def wall_s(self, workers: int) -> float:
        """Return the seconds until the last of that many workers is done, none of them ever waiting for work.

        Batches are whole, so that some workers idle at the end. The work is done by then in whatever order the batches
        go out: it takes no longer than one load after the other would, each in whole rounds, nor longer than
        Graham's bound on list scheduling, which is the nearer one when there are many small loads.

        Parameters
        ----------
        workers : int
            1 or more.

        References
        ----------
        R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal on Applied Mathematics 17 (1969).
        """
        longest_s = max((load.batch_s for load in self.loads), default=0.0)
        if workers >= self.batches:
            return longest_s
        in_rounds_s = sum(math.ceil(load.batches / workers) * load.batch_s for load in self.loads)
        return min(in_rounds_s, longest_s + (self.drawing_s - longest_s) / workers)


def workload(todo: pa.Table, profiles: Mapping[Shape, Profile], sizes: BatchSizes) -> Workload | None:
    """Return what a plan's table amounts to; None when the speed of a picture size is not known.

    Parameters
    ----------
    todo : pyarrow.Table
        Requests to render, all of one model.
    profiles : mapping
        Measurements by picture size.
    sizes : BatchSizes
        The batch sizes that will be used.
    """
    batches: Counter[float] = Counter()  # by the seconds one takes: batches alike in that need no round of their own
    for bucket, images in count_buckets(todo).items():
        profile = profiles.get(shape_of(bucket))
        if profile is None:
            return None
        size = sizes.of(bucket)
        batches[profile.batch_s(size, int(str(bucket[_STEPS])))] += math.ceil(images / size)  # a short one is padded
    loads = tuple(Load(count, batch_s) for batch_s, count in batches.items())
    return Workload(int(todo.num_rows), loads)


def all_together(parts: Iterable[Workload | None]) -> Workload | None:
    """Return what the workloads of several models amount to; None when one of them is not known."""
    known: list[Workload] = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return Workload(sum(part.images for part in known), tuple(load for part in known for load in part.loads))

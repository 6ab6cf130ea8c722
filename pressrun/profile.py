"""How fast a model draws at each batch size on some hardware, and the batch size that follows.

Knows nothing of how the times were taken. Measurements are remembered, so that the same job on the same hardware keeps
its batch size, and with it the lowest bits of its pictures.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np

from pressrun import layout
from pressrun.batch_sizes import Shape
from pressrun.job import Job
from pressrun.location import Location
from pressrun.storage import Store

LADDER = (1, 4, 16, 32)  # what lies between is close to what its neighbours say, so that few need to be timed
# What a smaller batch may cost: it needs less memory, and the tail of a run is shorter.
_WORTH_A_SMALLER_BATCH = 1.02


@dataclass(frozen=True, slots=True)
class Timing:
    """One measured point.

    Parameters
    ----------
    batch_size : int
        Pictures rendered at once.
    image_s : float
        Seconds a picture, for the steps it was measured with.
    fixed_s : float
        Seconds of these that more steps do not add to: encoding the prompt, decoding the picture.
    """

    batch_size: int
    image_s: float
    fixed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """The measurements of one model at one picture size on one kind of worker.

    Parameters
    ----------
    model_revision : str
        Digest of the weights.
    dtype : str
        Number format asked for.
    width_px, height_px : int
        Picture size.
    steps : int
        Denoising steps that `Timing.image_s` is for.
    timings : tuple of Timing
        By batch size, ascending; ends where memory did.
    batch_size : int
        The chosen size.
    hardware : str
        Device name and thread count.
    images : int
        Pictures of one worker that it was measured and chosen for.
    is_estimate : bool
        Whether it goes by another picture size's measurements.
    """

    model_revision: str
    dtype: str
    width_px: int
    height_px: int
    steps: int
    timings: tuple[Timing, ...]
    batch_size: int
    hardware: str
    images: int = 0
    is_estimate: bool = False

    def is_outgrown(self, images: int) -> bool:
        """Whether so many pictures of one worker want larger batches timed than it was thought of at the time.

        An estimate is outgrown by more than it was made for.
        """
        if self.is_estimate:
            return images > self.images
        return ladder(images)[-1] > max(ladder(self.images)[-1], self.timings[-1].batch_size)

    @property
    def shape(self) -> Shape:
        """Picture size as (width_px, height_px)."""
        return self.width_px, self.height_px

    def image_s(self, steps: int) -> float:
        """Return the expected seconds a picture at the chosen size, for another number of steps."""
        return self.batch_s(self.batch_size, steps) / self.batch_size

    def batch_s(self, batch_size: int, steps: int) -> float:
        """Return the expected seconds of a whole batch of some size, for another number of steps."""
        at_size = timing_at(self.timings, batch_size)
        return batch_size * (at_size.fixed_s + (at_size.image_s - at_size.fixed_s) * steps / self.steps)

    def within(self, longest_s: float | None) -> Profile:
        """Return the profile with a batch size whose batches take no longer; the smallest one where none does.

        Parameters
        ----------
        longest_s : float or None
            Seconds of a batch, at the steps that were measured; None sets no limit.
        """
        if longest_s is None or self.batch_s(self.batch_size, self.steps) <= longest_s:
            return self
        smallest = self.timings[0].batch_size
        short = (size for size in range(smallest, self.batch_size) if self.batch_s(size, self.steps) <= longest_s)
        return replace(self, batch_size=max(short, default=smallest))

    def at(self, batch_size: int) -> Profile | None:
        """Return the same measurements with another size chosen; None when it lies beyond what was measured."""
        if not self.timings[0].batch_size <= batch_size <= self.timings[-1].batch_size:
            return None
        return replace(self, batch_size=batch_size)

    def scaled(self, shape: Shape) -> Profile | None:
        """Return what these measurements say of another picture size: time and memory go with the pixels.

        None when not even one picture of that size is as small as the largest batch that was measured.
        """
        pixels = shape[0] * shape[1] / (self.width_px * self.height_px)
        sizes = sorted({int(timing.batch_size / pixels) for timing in self.timings} - {0})
        if not sizes:
            return None
        alike = [timing_at(self.timings, max(1.0, size * pixels)) for size in sizes]
        timings = tuple(
            Timing(size, timing.image_s * pixels, timing.fixed_s * pixels)
            for size, timing in zip(sizes, alike, strict=True)
        )
        return replace(
            self,
            width_px=shape[0],
            height_px=shape[1],
            timings=timings,
            batch_size=sizes[0],
            images=0,
            is_estimate=True,
        )


def fixed_s(short: tuple[int, float], long: tuple[int, float]) -> float:
    """Return the seconds that do not grow with the number of steps.

    Parameters
    ----------
    short, long : tuple of (int, float)
        Steps and seconds of two renderings of the same batch, the second of more steps.

    Returns
    -------
    float
        0 or more, and no more than either took.
    """
    (few, few_s), (many, many_s) = short, long
    return max(0.0, min(few_s - (many_s - few_s) * few / (many - few), few_s, many_s))


def ladder(images: int) -> tuple[int, ...]:
    """Return the batch sizes worth timing for so many pictures of one worker."""
    most = max(1, min(images, LADDER[-1]))
    return (*(size for size in LADDER if size < most), most)


def timing_at(timings: Sequence[Timing], batch_size: float) -> Timing:
    """Return the expected timing at any batch size: between two measured ones a batch's seconds grow evenly.

    Beyond the largest one a picture takes as long as in it, below the smallest likewise.
    """
    sizes = [timing.batch_size for timing in timings]
    at = min(max(batch_size, sizes[0]), sizes[-1])
    image_s, fixed_s = (
        float(np.interp(at, sizes, [timing.batch_size * spent_s(timing) for timing in timings])) / at
        for spent_s in (attrgetter("image_s"), attrgetter("fixed_s"))
    )
    return Timing(int(batch_size), image_s, fixed_s)


def choose_batch_size(timings: Sequence[Timing], images: int, workers: int) -> int:
    """Return the batch size at the knee: the smallest within 2% of the one that is done first.

    Batches are computed whole and workers wait for the last of them, so few images want smaller batches than many, and
    sizes that divide them evenly.

    Parameters
    ----------
    timings : sequence of Timing
        At least one, ascending by batch size.
    images : int
        Images of this picture size that are to be rendered.
    workers : int
        Workers that share them.
    """

    def wall_s(size: int) -> float:
        rounds = math.ceil(math.ceil(images / size) / workers)
        return rounds * size * timing_at(timings, size).image_s

    done_s = {size: wall_s(size) for size in range(timings[0].batch_size, timings[-1].batch_size + 1)}
    first_done_s = min(done_s.values())
    return next(size for size, spent_s in done_s.items() if spent_s <= _WORTH_A_SMALLER_BATCH * first_done_s)


def profile_stores(job: Job) -> tuple[Store, Store]:
    """Return where measurements are remembered: in the collection first, then on this host."""
    return Store(job.collection), Store(Location(str(Path(job.cache_folder).expanduser())))


def recall_profile(
    stores: Sequence[Store], model_revision: str, dtype: str, shape: Shape, hardware: str
) -> Profile | None:
    """Return the first remembered profile of that kind; one that cannot be read counts as none."""
    name = layout.profile(_key(model_revision, dtype, shape, hardware))
    return next((profile for store in stores if (profile := _read(store, name)) is not None), None)


def recall_profiles(stores: Sequence[Store], model_revision: str, dtype: str) -> dict[Shape, Profile]:
    """Return a remembered profile for every picture size, on whatever hardware it was measured."""
    found: dict[Shape, Profile] = {}
    for store in stores:
        for name in store.names(layout.PROFILES, ".json"):
            profile = _read(store, name)
            if profile is not None and (profile.model_revision, profile.dtype) == (model_revision, dtype):
                found.setdefault(profile.shape, profile)
    return found


def remember_profile(stores: Sequence[Store], profile: Profile) -> None:
    """Write a profile to every store."""
    key = _key(profile.model_revision, profile.dtype, profile.shape, profile.hardware)
    for store in stores:
        store.write(layout.profile(key), json.dumps(asdict(profile), indent=2).encode())


def _key(model_revision: str, dtype: str, shape: Shape, hardware: str) -> str:
    text = json.dumps([model_revision, hardware, dtype, *shape])
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def _read(store: Store, name: str) -> Profile | None:
    try:
        record = json.loads(store.read(name))
        timings = tuple(Timing(**timing) for timing in record.pop("timings"))
        return Profile(timings=timings, **record)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None

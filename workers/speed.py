"""The speed of a run's model on its fleet: recalled where it was measured before, else measured.

Knows nothing of how a worker measures; asks one that is there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow.compute as pc
from distributed import Client

from pressrun.batch import Batch
from pressrun.errors import PressrunError, StageFailed
from pressrun.plan import Shape, shapes
from pressrun.profile import (
    LADDER,
    Profile,
    Timing,
    choose_batch_size,
    mean_image_s,
    profile_stores,
    recall_profile,
    remember_profile,
)
from pressrun.run import Run, picture_revision
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.warming import Warmth, measure, warm_worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Speed:
    """How the run's pictures are best drawn.

    Parameters
    ----------
    batch_sizes : mapping
        Picture size (width_px, height_px) to batch size.
    image_s : float or None
        Expected worker-seconds a picture, over the run's mix; None when the speed of a picture size is not known.
    others : mapping of str to Speed
        That of each model of a job with several, by name; then the rest says nothing.
    """

    batch_sizes: Mapping[Shape, int]
    image_s: float | None
    others: Mapping[str, Speed] = field(default_factory=dict)

    def of(self, model: str) -> Speed:
        """Return how the pictures of one model are best drawn."""
        return self.others.get(model, self)


def warm_fleet(run: Run, fleet: Fleet, order: PrintOrder) -> Speed:
    """Warm the workers that are there, and settle the batch size of every picture size.

    Parameters
    ----------
    run : Run
        The run.
    fleet : Fleet
        Its open workers.
    order : PrintOrder
        The standing instructions.

    Raises
    ------
    StageFailed
        When no picture of the most common size can be drawn. A rarer size that cannot be measured is drawn one by one.
    """
    todo_shapes = shapes(run.plan.todo)
    if run.is_idle:
        return Speed({}, None)
    client = fleet.open()
    warmth = _warm(run, client, order, _sample(run, next(iter(todo_shapes))))
    found = {
        shape: _profile(run, fleet, order, warmth, _Wanted(shape, images)) for shape, images in todo_shapes.items()
    }
    profiles = {shape: profile for shape, profile in found.items() if profile is not None}
    run.ledger.profiles = tuple(profiles.values())
    unmeasured = run.job.batch_size or 1
    batch_sizes = {shape: profile.batch_size if profile else unmeasured for shape, profile in found.items()}
    return Speed(batch_sizes, mean_image_s(run.plan.todo, profiles))


def _warm(run: Run, client: Client, order: PrintOrder, sample: Batch) -> Warmth:
    """Warm the workers, and note how many are ready and how long one more would take to be."""
    started = run.ledger.clock()
    warmths = _warm_all(client, order, sample)
    run.ledger.start_s = run.ledger.opening_s + run.ledger.clock() - started
    run.ledger.ready_workers = len(warmths)
    run.ledger.provenance = warmths[0].provenance
    return warmths[0]


def _warm_all(client: Client, order: PrintOrder, sample: Batch) -> list[Warmth]:
    addresses = list(client.scheduler_info(n_workers=-1)["workers"])
    # A worker that dies comes back under another address, so the place is a wish: a firm one would wait for ever.
    futures = [
        client.submit(warm_worker, order, sample, workers=[address], allow_other_workers=True, pure=False)
        for address in addresses
    ]
    try:
        warmths: list[Warmth] = client.gather(futures)
    except PressrunError:
        raise
    except Exception as error:
        size = f"{sample.shared('width_px')} x {sample.shared('height_px')} px"
        raise StageFailed(
            f"The model {order.facts.name} cannot draw one picture of {size} on the workers: "
            f"{type(error).__name__}: {error}. Nothing was generated; look at the model, the picture size and the "
            "workers' memory."
        ) from error
    return warmths


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A picture size, and how many pictures of it are to be drawn."""

    shape: Shape
    images: int


def _profile(run: Run, fleet: Fleet, order: PrintOrder, warmth: Warmth, wanted: _Wanted) -> Profile | None:
    here, on_host = profile_stores(run.job)
    key = (picture_revision(run.facts, run.job.engine), order.drawing, wanted.shape, warmth.hardware)
    images = math.ceil(wanted.images / fleet.largest)  # of one worker
    given = run.job.batch_size
    if given is not None:  # it is not remembered: a size that was given must not pass for the best one later
        recalled = recall_profile([here, on_host], *key)
        known = recalled.at(given) if recalled else None
        if known is not None or not run.job.has_terms:  # only a quote needs to know how fast a given size is
            return known
        return _measure(fleet, order, _sample(run, wanted.shape), key, _Ladder((given,), images))
    profile = recall_profile([here], *key)
    if profile is None:
        ladder = _Ladder(tuple(size for size in LADDER if size <= max(1, images)), images)
        profile = recall_profile([on_host], *key)
        if profile is None or profile.timings[-1].batch_size < ladder.sizes[-1]:  # a smaller job's needs no more
            profile = _measure(fleet, order, _sample(run, wanted.shape), key, ladder)
        if profile is None:
            return None
        # The collection keeps its batch size from here on, and with it the lowest bits of its pictures.
        profile = replace(profile, batch_size=choose_batch_size(profile.timings, wanted.images, fleet.largest))
    remember_profile([here, on_host], profile)
    return profile


@dataclass(frozen=True, slots=True)
class _Ladder:
    """Batch sizes worth measuring, and the pictures of one worker that they are for."""

    sizes: tuple[int, ...]
    images: int


def _measure(
    fleet: Fleet, order: PrintOrder, sample: Batch, key: tuple[str, str, Shape, str], ladder: _Ladder
) -> Profile | None:
    steps, timings = _measured(fleet.open(), order, sample, ladder)
    if not timings:
        return None
    revision, drawing, (width_px, height_px), hardware = key
    return Profile(revision, drawing, width_px, height_px, steps, tuple(timings), timings[0].batch_size, hardware)


def _measured(client: Client, order: PrintOrder, sample: Batch, ladder: _Ladder) -> tuple[int, list[Timing]]:
    try:
        measured: tuple[int, list[Timing]] = client.submit(
            measure, order, sample, ladder.sizes, ladder.images, pure=False
        ).result()
    except PressrunError:
        raise
    except Exception:  # one picture size that fails must not stop the others; its pictures will say why
        logger.warning("a picture size could not be measured", exc_info=True)
        return 0, []
    return measured


def _sample(run: Run, shape: Shape) -> Batch:
    todo = run.plan.todo
    same = pc.and_(pc.equal(todo.column("width_px"), shape[0]), pc.equal(todo.column("height_px"), shape[1]))
    return Batch("sample", todo.slice(pc.index(same, True).as_py(), 1), 1)

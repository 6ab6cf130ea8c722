"""The speed of a run's model on its fleet: recalled where it was measured before, else measured.

Knows nothing of how a worker measures; asks one that is there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow.compute as pc
from distributed import Client

from pressrun.batch import Batch
from pressrun.batch_sizes import BatchSizes, Shape
from pressrun.draft import picture_revision
from pressrun.errors import PressrunError, StageFailed
from pressrun.plan import shapes
from pressrun.profile import (
    Profile,
    Timing,
    choose_batch_size,
    ladder,
    profile_stores,
    recall_profile,
    remember_profile,
)
from pressrun.run import Run
from pressrun.storage import Store
from workers.fleet import Fleet
from workers.newcomers import Newcomers, warm_all
from workers.order import PrintOrder
from workers.warming import LEAST_MEASURING_S, MEASURING_SHARE, Warmth, measure
from workers.wishes import addresses, submit_to

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Speed:
    """How the run's pictures are best drawn.

    Parameters
    ----------
    batch_sizes : BatchSizes
        For every bucket.
    others : mapping of str to Speed
        That of each model of a job with several, by name; then the rest says nothing.
    """

    batch_sizes: BatchSizes
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
    if run.is_idle:
        return Speed(BatchSizes({}))
    todo_shapes = shapes(run.plan.todo)
    warmth = _warm(run, fleet.open(), order, sample_of(run, next(iter(todo_shapes))))
    found: dict[Shape, Profile | None] = {}
    for shape, images in todo_shapes.items():
        common = next((profile for profile in found.values() if profile is not None), None)
        profile = _profile(run, fleet, order, warmth, _Wanted(shape, images, fleet.largest, common))
        # Not remembered as the choice: without the limit another size is the best.
        found[shape] = profile.within(run.job.longest_batch_s) if profile and not run.job.batch_size else profile
        _begin_scaling(run, fleet)  # not before: workers that load would disturb the measurement that counts most
    run.ledger.profiles = tuple(profile for profile in found.values() if profile is not None)
    unmeasured = run.job.batch_size or 1
    most = {shape: profile.batch_size if profile else unmeasured for shape, profile in found.items()}
    return Speed(BatchSizes(most, {} if run.job.keeps_batch_size else run.plan.asked))


def _begin_scaling(run: Run, fleet: Fleet) -> None:
    """Begin to start the other workers, where no quote decides how many there will be."""
    if not run.job.has_terms:
        coming = min(run.job.workers or fleet.largest, fleet.largest, run.plan.todo.num_rows)
        run.ledger.coming_workers = max(run.ledger.coming_workers, coming)  # of several models, those before count too
        fleet.begin_scaling(coming)


def _warm(run: Run, client: Client, order: PrintOrder, sample: Batch) -> Warmth:
    """Warm the workers, and note how many are ready and how long one more would take to be."""
    started = run.ledger.clock()
    warmths = warm_up(client, order, sample)
    run.ledger.start_s = run.ledger.opening_s + run.ledger.clock() - started
    run.ledger.ready_workers = len(warmths)
    run.ledger.provenance = warmths[0].provenance
    return warmths[0]


def warm_up(client: Client, order: PrintOrder, sample: Batch) -> list[Warmth]:
    """Warm every worker that takes tasks now; one that is warm is done at once.

    Raises
    ------
    StageFailed
        When one of them cannot draw.
    """
    try:
        warmths: list[Warmth] = client.gather(warm_all(client, addresses(client), order, sample))
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
    """A picture size, how many pictures by how many workers, and the speed of a more common size if known."""

    shape: Shape
    images: int
    workers: int
    common: Profile | None

    @property
    def each(self) -> int:
        """Pictures of one worker."""
        return math.ceil(self.images / self.workers)


def _profile(run: Run, fleet: Fleet, order: PrintOrder, warmth: Warmth, wanted: _Wanted) -> Profile | None:
    here, on_host = profile_stores(run.job)
    key = (picture_revision(run.facts, run.job.engine), order.drawing, wanted.shape, warmth.hardware)
    given = run.job.batch_size
    if given is not None:  # it is not remembered: a size that was given must not pass for the best one later
        recalled = recall_profile([here, on_host], *key)
        known = recalled.at(given) if recalled else None
        if known is not None or not run.job.has_terms:  # only a quote needs to know how fast a given size is
            return known
        rungs = _Ladder((given,), wanted.each, warmth.address)
        measured = _measure(fleet, order, sample_of(run, wanted.shape), key, rungs)
        return measured.at(given) if measured else None
    settled = recall_profile([here], *key)
    if settled is not None and not settled.is_outgrown(wanted.each):
        return settled
    measured = recall_profile([on_host], *key)
    if measured is None or measured.is_outgrown(wanted.each):  # a smaller job's needs no more
        estimate = _estimate(wanted)
        if estimate is not None:
            return settled or _settled([here], estimate, wanted)
        rungs = _Ladder(ladder(wanted.each), wanted.each, warmth.address)
        measured = _measure(fleet, order, sample_of(run, wanted.shape), key, rungs)
    return _settled([here, on_host], measured, wanted) if measured else settled


def _estimate(wanted: _Wanted) -> Profile | None:
    """Return what the more common size says of one whose drawing is not worth the time that measuring it takes."""
    estimate = wanted.common.scaled(wanted.shape) if wanted.common else None
    if estimate is None or wanted.each * estimate.image_s(estimate.steps) * MEASURING_SHARE > LEAST_MEASURING_S:
        return None
    return estimate


def _settled(stores: Sequence[Store], profile: Profile, wanted: _Wanted) -> Profile:
    """Choose the batch size; the collection keeps it from here on, and with it the lowest bits of its pictures."""
    size = choose_batch_size(profile.timings, wanted.images, wanted.workers)
    settled = replace(profile, batch_size=size, images=max(wanted.each, profile.images))
    remember_profile(stores, settled)
    return settled


@dataclass(frozen=True, slots=True)
class _Ladder:
    """Batch sizes worth measuring, the pictures of one worker that they are for, and the worker, which is warm."""

    sizes: tuple[int, ...]
    images: int
    worker: str


def _measure(
    fleet: Fleet, order: PrintOrder, sample: Batch, key: tuple[str, str, Shape, str], rungs: _Ladder
) -> Profile | None:
    steps, timings = _measured(fleet.open(), order, sample, rungs)
    if not timings:
        return None
    revision, drawing, (width_px, height_px), hardware = key
    return Profile(revision, drawing, width_px, height_px, steps, tuple(timings), timings[0].batch_size, hardware)


def _measured(client: Client, order: PrintOrder, sample: Batch, rungs: _Ladder) -> tuple[int, list[Timing]]:
    """Have one worker measure, while those that come meanwhile warm themselves."""
    newcomers = Newcomers(client, order, sample)
    try:
        measured: tuple[int, list[Timing]] = newcomers.result(
            submit_to(client, rungs.worker, measure, order, sample, rungs.sizes, rungs.images)
        )
    except PressrunError:
        raise
    except Exception:  # one picture size that fails must not stop the others; its pictures will say why
        logger.warning("a picture size could not be measured", exc_info=True)
        return 0, []
    return measured


def sample_of(run: Run, shape: Shape) -> Batch:
    """Return a batch of one request of some picture size."""
    todo = run.plan.todo
    same = pc.and_(pc.equal(todo.column("width_px"), shape[0]), pc.equal(todo.column("height_px"), shape[1]))
    return Batch("sample", todo.slice(pc.index(same, True).as_py(), 1), 1)

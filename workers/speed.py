"""The speed of a run's model on its fleet: recalled where it was measured before, else measured.

Knows nothing of how a worker measures; asks one that is there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow.compute as pc
from distributed import Client

from pressrun.batch import Batch
from pressrun.errors import PressrunError, StageFailed
from pressrun.plan import Shape, shapes
from pressrun.profile import (
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
        Expected worker-seconds a picture, over the run's mix; None when the batch size was given, not measured.
    """

    batch_sizes: Mapping[Shape, int]
    image_s: float | None


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
    warmth = _warm_all(client, order, _sample(run, next(iter(todo_shapes))))
    run.ledger.provenance = warmth.provenance
    if run.job.batch_size is not None:
        return Speed(dict.fromkeys(todo_shapes, run.job.batch_size), None)
    found = {shape: _profile(run, fleet, order, warmth, shape) for shape in todo_shapes}
    profiles = {shape: profile for shape, profile in found.items() if profile is not None}
    run.ledger.profiles = tuple(profiles.values())
    batch_sizes = {shape: profile.batch_size if profile else 1 for shape, profile in found.items()}
    return Speed(batch_sizes, mean_image_s(run.plan.todo, profiles))


def _warm_all(client: Client, order: PrintOrder, sample: Batch) -> Warmth:
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
    return warmths[0]


def _profile(run: Run, fleet: Fleet, order: PrintOrder, warmth: Warmth, shape: Shape) -> Profile | None:
    here, on_host = profile_stores(run.job)
    revision = picture_revision(run.facts, run.job.engine)
    wanted = (revision, order.drawing, shape, warmth.hardware)
    profile = recall_profile([here], *wanted)
    if profile is None:
        profile = recall_profile([on_host], *wanted) or _measure(fleet, order, _sample(run, shape), wanted)
        if profile is None:
            return None
        # The collection keeps its batch size from here on, and with it the lowest bits of its pictures.
        size = choose_batch_size(profile.timings, shapes(run.plan.todo)[shape], fleet.largest)
        profile = replace(profile, batch_size=size)
    remember_profile([here, on_host], profile)
    return profile


def _measure(fleet: Fleet, order: PrintOrder, sample: Batch, wanted: tuple[str, str, Shape, str]) -> Profile | None:
    steps, timings = _measured(fleet.open(), order, sample)
    if not timings:
        return None
    revision, drawing, (width_px, height_px), hardware = wanted
    return Profile(revision, drawing, width_px, height_px, steps, tuple(timings), 1, hardware)


def _measured(client: Client, order: PrintOrder, sample: Batch) -> tuple[int, list[Timing]]:
    try:
        measured: tuple[int, list[Timing]] = client.submit(measure, order, sample, pure=False).result()
    except PressrunError:
        raise
    except Exception:  # one picture size that fails must not stop the others; its pictures will say why
        logger.warning("a picture size could not be measured, its pictures are drawn one by one", exc_info=True)
        return 0, []
    return measured


def _sample(run: Run, shape: Shape) -> Batch:
    todo = run.plan.todo
    same = pc.and_(pc.equal(todo.column("width_px"), shape[0]), pc.equal(todo.column("height_px"), shape[1]))
    return Batch("sample", todo.slice(pc.index(same, True).as_py(), 1), 1)

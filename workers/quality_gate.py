"""Engine options on trial: what each does to speed and to pictures, against the plain engine on a seeded sample.

Knows nothing of what the options do. Options that change pixels are accepted only within the job's budget.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pressrun.batch import BUCKET_FIELDS, Batch
from pressrun.bucket_order import rows_at
from pressrun.engine_options import EngineOptions, OptionTrial, QualityBudget
from pressrun.errors import QualityRefused
from pressrun.picture_distance import psnr_db, ssim
from pressrun.run import Run
from workers.cancellation import working_for
from workers.engines.renderer import Pixels
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.printing import lend_renderer
from workers.warm_embedder import warm_embedder

_SAMPLE_IMAGES = 4
logger = logging.getLogger(__name__)


def accept_options(run: Run, fleet: Fleet, order: PrintOrder) -> PrintOrder:
    """Try the job's engine options and return the order to print by.

    Parameters
    ----------
    run : Run
        The run; its ledger takes what was measured.
    fleet : Fleet
        Its open workers.
    order : PrintOrder
        The standing instructions, options included.

    Returns
    -------
    PrintOrder
        The same, or with the plain engine where the budget says to fall back.

    Raises
    ------
    QualityRefused
        When pictures come out farther from the plain engine's than the budget allows.
    """
    if run.is_idle or not _needs_trial(order):
        return order
    sample = _sample(run)
    trials = fleet.open().submit(try_options, order, sample, pure=False).result()
    run.ledger.trials = tuple(trials)
    breach = _breach(trials[0], run.job.quality)
    if not breach:
        return order
    if run.job.quality.falls_back:
        logger.warning("%s; drawing with the plain engine", breach)
        return _plain(order)
    raise QualityRefused(
        f"With the engine options {trials[0].name} the pictures differ more than allowed: {breach}, over {len(sample)} "
        "sample pictures. Leave options out, widen the budget, or let the run fall back to the plain engine."
    )


def try_options(order: PrintOrder, sample: Batch) -> list[OptionTrial]:
    """Draw a sample with the plain engine, with all options, and with each of several alone; on a worker.

    Returns
    -------
    list of OptionTrial
        All options together first.
    """
    with working_for(order.run_id):
        plain = _draw(_plain(order), sample)
        return [_trial(candidate, name, sample, plain) for name, candidate in _candidates(order).items()]


@dataclass(frozen=True, slots=True)
class _Drawn:
    pixels: Pixels  # (N, H, W, 3)
    image_s: float


def _trial(order: PrintOrder, name: str, sample: Batch, plain: _Drawn) -> OptionTrial:
    drawn = _draw(order, sample)
    embedder = warm_embedder(order)
    similarity = None
    if embedder is not None:
        pairs = embedder.embed_images(plain.pixels) * embedder.embed_images(drawn.pixels)  # (N, D), L2-normalised
        similarity = float(np.mean(pairs.sum(axis=1)))
    distances = psnr_db(plain.pixels, drawn.pixels), ssim(plain.pixels, drawn.pixels)
    return OptionTrial(name, plain.image_s / drawn.image_s, *distances, similarity)


def _draw(order: PrintOrder, sample: Batch) -> _Drawn:
    with lend_renderer(order) as renderer:
        renderer.render(sample)  # the first pays for compilation and kernel choice
        started = time.perf_counter()
        pixels = renderer.render(sample)
        return _Drawn(pixels, (time.perf_counter() - started) / len(sample))


def _needs_trial(order: PrintOrder) -> bool:
    return order.engine == "diffusers" and bool(order.options.chosen or order.dtype != "auto")


def _plain(order: PrintOrder) -> PrintOrder:
    return replace(order, dtype="auto", options=EngineOptions())


def _candidates(order: PrintOrder) -> dict[str, PrintOrder]:
    alone = {order.options.only(name).label: replace(_plain(order), options=order.options.only(name))
             for name in order.options.chosen}  # fmt: skip
    if order.dtype != "auto":
        alone[order.dtype] = replace(_plain(order), dtype=order.dtype)
    return {order.drawing: order} | (alone if len(alone) > 1 else {})


def _breach(trial: OptionTrial, budget: QualityBudget) -> str:
    """Return what is over the budget, with both numbers; "" when nothing is."""
    found = []
    if trial.psnr_db < budget.least_psnr_db:
        found.append(f"PSNR {trial.psnr_db:.1f} dB, at least {budget.least_psnr_db:.1f} dB wanted")
    if trial.ssim < budget.least_ssim:
        found.append(f"SSIM {trial.ssim:.3f}, at least {budget.least_ssim:.3f} wanted")
    if trial.similarity is not None and trial.similarity < budget.least_similarity:
        found.append(f"similarity {trial.similarity:.3f}, at least {budget.least_similarity:.3f} wanted")
    return " and ".join(found)


def _sample(run: Run) -> Batch:
    """Return a few requests of the largest bucket, the same for the same plan."""
    todo = run.plan.todo
    buckets = todo.group_by(list(BUCKET_FIELDS)).aggregate([([], "count_all")]).to_pylist()
    largest = max(buckets, key=lambda bucket: bucket["count_all"])
    same = reduce(pc.and_, [pc.equal(todo.column(name), largest[name]) for name in BUCKET_FIELDS])
    positions = pc.indices_nonzero(same).to_numpy()
    chosen = sorted(random.Random(0).sample(range(len(positions)), min(_SAMPLE_IMAGES, len(positions))))
    rows = pa.Table.from_batches(rows_at(todo, positions[chosen].astype(np.int64)))
    return Batch("sample", rows, len(chosen))

"""Rendering that survives: a batch too large is halved, a batch that fails is searched for its culprit.

What was too large is remembered for the batches that follow.

Knows nothing of where pictures go. One bad request costs one failure, never its neighbours.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from pressrun.batch import Batch
from pressrun.errors import RunCancelled, StageFailed
from pressrun.failures import Failure
from workers.batch_ceiling import BatchCeilings
from workers.engines.renderer import OutOfMemory, Pixels

logger = logging.getLogger(__name__)
_ATTEMPTS = 2  # a request that fails alone is tried once more: the first failure may have been a passing one


class NotLoaded(Exception):
    """There is nothing to draw with, which is no request's fault.

    Parameters
    ----------
    error : Exception
        Why.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Rendered:
    """Pictures of some requests of a batch.

    Parameters
    ----------
    requests : pyarrow.Table
        The requests that became pictures.
    pixels : numpy.ndarray
        (len(requests), height_px, width_px, 3) uint8.
    batch_size : int
        Pictures the engine rendered at once.
    """

    requests: pa.Table
    pixels: Pixels
    batch_size: int


@dataclass(slots=True)
class Rescue:
    """What became of one batch.

    Parameters
    ----------
    rendered : list of Rendered
        Pictures, in pieces.
    failures : list of Failure
        Requests that failed by themselves.
    halvings : int
        How often the batch was cut for want of memory.
    """

    rendered: list[Rendered] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    halvings: int = 0


Draw = Callable[[Batch], Pixels]


def render_all(draw: Draw, batch: Batch, ceilings: BatchCeilings | None = None, model: str = "") -> Rescue:
    """Render what can be rendered of a batch.

    Parameters
    ----------
    draw : callable
        Renders a batch, as `Renderer.render`.
    batch : Batch
        The requests.
    ceilings : BatchCeilings or None
        What is known of the device's memory; None knows nothing yet.
    model : str
        What is drawn with, for which alone the ceilings hold.

    Returns
    -------
    Rescue
        Every request of the batch is in exactly one of `rendered` and `failures`.

    Raises
    ------
    RunCancelled
        When the run was cancelled meanwhile.
    NotLoaded
        When `draw` says so.
    StageFailed
        When the engine returned something else than the pictures asked for.
    """
    rescue = Rescue()
    ceilings = ceilings or BatchCeilings()
    what = (model, batch.shared("width_px"), batch.shared("height_px"))
    attempts: Counter[str] = Counter()  # of requests that were tried by themselves
    most = ceilings.most(what, batch.size)
    pieces = [batch] if most == batch.size else _split(batch, most, most)
    while pieces:
        piece = pieces.pop(0)
        try:
            pixels = draw(piece)
        except (RunCancelled, NotLoaded):
            raise
        except OutOfMemory as error:
            ceilings.too_many(what, piece.size)
            pieces[:0] = _halved(piece, error, rescue)
        except Exception as error:
            pieces[:0] = _bisected(piece, error, attempts, rescue)
        else:
            ceilings.went_well(what, piece.size)
            rescue.rendered.append(Rendered(piece.requests, _checked(pixels, piece), piece.size))
    return rescue


def _halved(piece: Batch, error: OutOfMemory, rescue: Rescue) -> list[Batch]:
    if piece.size == 1:
        rescue.failures.append(_dead_letter(piece, error, 1))
        return []
    rescue.halvings += 1
    logger.warning("batch %s: no memory for %d pictures at once, halving", piece.batch_id, piece.size)
    return _split(piece, piece.size // 2, piece.size // 2)


def _bisected(piece: Batch, error: Exception, attempts: Counter[str], rescue: Rescue) -> list[Batch]:
    if len(piece) > 1:
        logger.warning("batch %s: %d pictures failed together (%s), bisecting", piece.batch_id, len(piece), error)
        # The size stays, so that the innocent halves are padded to the same pictures as before.
        return _split(piece, (len(piece) + 1) // 2, piece.size)
    image_id = str(piece.shared("image_id"))
    attempts[image_id] += 1
    if attempts[image_id] < _ATTEMPTS:
        return [piece]
    rescue.failures.append(_dead_letter(piece, error, _ATTEMPTS))
    return []


def _checked(pixels: Pixels, piece: Batch) -> Pixels:
    wanted = (len(piece), piece.shared("height_px"), piece.shared("width_px"), 3)
    if pixels.shape != wanted or pixels.dtype != np.uint8:
        raise StageFailed(
            f"The engine returned {pixels.dtype} pictures of shape {pixels.shape} for batch {piece.batch_id}, which "
            f"asks for uint8 of shape {wanted}; the engine has to be mended."
        )
    return pixels


def _split(piece: Batch, rows: int, size: int) -> list[Batch]:
    starts = range(0, len(piece), rows)
    return [replace(piece, requests=piece.requests.slice(start, rows), size=size) for start in starts]


def _dead_letter(piece: Batch, error: BaseException, attempts: int) -> Failure:
    return Failure.of(str(piece.shared("image_id")), "render", error, attempts)

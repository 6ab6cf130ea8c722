"""Rendering that survives: a batch too large is halved, a batch that fails is searched for its culprit.

Knows nothing of where pictures go. One bad request costs one failure, never its neighbours.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import pyarrow as pa

from pressrun.batch import Batch
from pressrun.errors import RunCancelled
from pressrun.failures import Failure
from workers.engines.renderer import OutOfMemory, Pixels, Renderer

logger = logging.getLogger(__name__)
_ATTEMPTS = 2  # a request that fails alone is tried once more: the first failure may have been a passing one


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


def render_all(renderer: Renderer, batch: Batch) -> Rescue:
    """Render what can be rendered of a batch.

    Parameters
    ----------
    renderer : Renderer
        The engine.
    batch : Batch
        The requests.

    Returns
    -------
    Rescue
        Every request of the batch is in exactly one of `rendered` and `failures`.

    Raises
    ------
    RunCancelled
        When the run was cancelled meanwhile.
    """
    rescue = Rescue()
    pieces = [batch]
    while pieces:
        piece = pieces.pop(0)
        try:
            rescue.rendered.append(Rendered(piece.requests, renderer.render(piece), piece.size))
        except RunCancelled:
            raise
        except OutOfMemory as error:
            if piece.size == 1:
                rescue.failures.append(_dead_letter(piece, error, 1))
                continue
            rescue.halvings += 1
            logger.warning("batch %s: no memory for %d pictures at once, halving", batch.batch_id, piece.size)
            pieces[:0] = _split(piece, (piece.size + 1) // 2, piece.size // 2 or 1)
        except Exception as error:
            if len(piece) == 1:
                _try_alone(renderer, piece, error, rescue)
                continue
            logger.warning("batch %s: %d pictures failed together (%s), bisecting", batch.batch_id, len(piece), error)
            # The size stays, so that the innocent halves are padded to the same pictures as before.
            pieces[:0] = _split(piece, (len(piece) + 1) // 2, piece.size)
    return rescue


def _try_alone(renderer: Renderer, piece: Batch, error: Exception, rescue: Rescue) -> None:
    for _ in range(_ATTEMPTS - 1):
        try:
            rescue.rendered.append(Rendered(piece.requests, renderer.render(piece), piece.size))
        except RunCancelled:
            raise
        except Exception as again:
            error = again
        else:
            return
    rescue.failures.append(_dead_letter(piece, error, _ATTEMPTS))


def _split(piece: Batch, rows: int, size: int) -> list[Batch]:
    starts = range(0, len(piece), rows)
    return [replace(piece, requests=piece.requests.slice(start, rows), size=size) for start in starts]


def _dead_letter(piece: Batch, error: BaseException, attempts: int) -> Failure:
    return Failure.of(str(piece.shared("image_id")), "render", error, attempts)

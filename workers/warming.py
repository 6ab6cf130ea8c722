"""On one worker: weights loaded, one small batch drawn, speed measured by batch size.

Knows nothing of the other workers, nor of which size is chosen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pressrun.batch import Batch
from pressrun.profile import LADDER, Timing, fixed_s
from workers.cancellation import working_for
from workers.engines.renderer import OutOfMemory, Renderer
from workers.order import PrintOrder
from workers.printing import lend_renderer, worker_address
from workers.warm_embedder import warm_embedder

_TRIAL_STEPS = 4
_TRIAL_PROMPT = "a picture"
_MOST_REPEATS = 3
_REPEATING_S = 0.3
MEASURING_SHARE = 0.05  # of the drawing that it is for
LEAST_MEASURING_S = 5.0
_LONGEST_TRIAL_S = 20.0  # a size that takes longer ends the ladder: its larger neighbours would take minutes


@dataclass(frozen=True, slots=True)
class Warmth:
    """A worker that is ready.

    Parameters
    ----------
    address : str
        Dask worker address; "" outside a task.
    load_s : float
        Seconds to load the weights; near 0 when they were warm.
    hardware : str
        Device and threads, the key under which its speed is remembered.
    provenance : dict
        What the engine says its pictures depend on.
    """

    address: str
    load_s: float
    hardware: str
    provenance: dict[str, str | int]


def warm_worker(order: PrintOrder, sample: Batch) -> Warmth:
    """Load the weights and draw one picture.

    Parameters
    ----------
    order : PrintOrder
        The run's standing instructions.
    sample : Batch
        Any real batch; a picture like its first is drawn with few steps and another prompt, and thrown away.
    """
    started = time.perf_counter()
    with working_for(order.run_id), lend_renderer(order) as renderer:
        load_s = time.perf_counter() - started
        renderer.render(_trial(sample, 1))
        provenance = renderer.provenance()
    warm_embedder(order)
    return Warmth(worker_address(), load_s, hardware_name(provenance), provenance)


def measure(
    order: PrintOrder, sample: Batch, sizes: Sequence[int] = LADDER, images: int | None = None
) -> tuple[int, list[Timing]]:
    """Time the renderer at growing batch sizes, until memory or patience ends.

    Parameters
    ----------
    order : PrintOrder
        The run's standing instructions.
    sample : Batch
        A batch of the picture size in question.
    sizes : sequence of int
        Batch sizes, ascending.
    images : int or None
        Pictures that one worker will draw at the chosen size, which measuring may cost a twentieth of; None for any
        number.

    Returns
    -------
    int
        Denoising steps used.
    list of Timing
        One a size; none when not even the first fits into memory.
    """
    timings: list[Timing] = []
    waiting = list(sizes)
    with working_for(order.run_id), lend_renderer(order) as renderer:
        began = time.perf_counter()
        while waiting:
            size = waiting.pop(0)
            try:
                spent_s, unchanging_s = _time(renderer, sample, size)
            except OutOfMemory:
                waiting = _between(timings, size) if size in sizes else []
                continue
            timings.append(Timing(size, spent_s / size, unchanging_s / size))
            measuring_s = time.perf_counter() - began
            if spent_s > _LONGEST_TRIAL_S or measuring_s > _worth_s(sample, timings, images):
                break
    return _trial_steps(sample), timings


def _between(timings: Sequence[Timing], too_large: int) -> list[int]:
    """Return the size half way to one that was too large, if there is any."""
    fits = timings[-1].batch_size if timings else 0
    middle = (fits + too_large) // 2
    return [middle] if middle > fits else []


def _worth_s(sample: Batch, timings: Sequence[Timing], images: int | None) -> float:
    """Return the seconds that measuring may take: a share of the drawing at the best size so far."""
    if images is None:
        return math.inf
    step_s = min(timing.image_s for timing in timings) / _trial_steps(sample)
    return max(LEAST_MEASURING_S, MEASURING_SHARE * images * step_s * int(str(sample.shared("steps"))))


def hardware_name(provenance: dict[str, str | int]) -> str:
    """Return the part of a renderer's provenance that decides its speed."""
    return f"{provenance.get('device', 'none')}, {provenance.get('threads', 1)} threads"


def _time(renderer: Renderer, sample: Batch, size: int) -> tuple[float, float]:
    """Return the seconds that a batch takes, and how many of them more steps would not add to."""
    steps = _trial_steps(sample)
    fewer = max(1, steps // 2)
    renderer.render(_trial(sample, size, fewer))  # the first at a size pays for allocation and kernel choice
    spent_s = _shortest_s(renderer, _trial(sample, size), least=2)
    if steps == fewer:
        return spent_s, 0.0
    return spent_s, fixed_s((fewer, _shortest_s(renderer, _trial(sample, size, fewer))), (steps, spent_s))


def _shortest_s(renderer: Renderer, trial: Batch, least: int = 1) -> float:
    """Return the time of the quickest of a few renders: whatever disturbs one only makes it longer."""
    times_s: list[float] = []
    while len(times_s) < least or (len(times_s) < _MOST_REPEATS and sum(times_s) < _REPEATING_S):
        started = time.perf_counter()
        renderer.render(trial)
        times_s.append(time.perf_counter() - started)
    return min(times_s)


def _trial_steps(sample: Batch) -> int:
    return min(_TRIAL_STEPS, int(str(sample.shared("steps"))))


def _trial(sample: Batch, size: int, steps: int | None = None) -> Batch:
    """Return the sample's first request, repeated to fill a batch, with few steps and a prompt that harms nobody.

    A prompt that breaks the model or its worker is one picture's misfortune; here it would end the run.
    """
    first = sample.requests.slice(0, 1).to_pylist()[0]
    trial = first | {"prompt": _TRIAL_PROMPT, "negative_prompt": "", "steps": steps or _trial_steps(sample)}
    requests = pa.Table.from_pylist([trial] * size, schema=sample.requests.schema)
    return replace(sample, batch_id="trial", requests=requests, size=size)

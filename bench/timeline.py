"""When renderers were at work: noted by the engines of `bench.engines`, read by the benchmarks.

Knows nothing of what was drawn.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Span:
    """One rendering.

    Parameters
    ----------
    process : int
        Process id of the worker.
    start_s, end_s : float
        Seconds since the epoch.
    images : int
        Pictures drawn.
    denoising_s : float
        Seconds of it that the denoiser ran.
    """

    process: int
    start_s: float
    end_s: float
    images: int
    denoising_s: float


@dataclass(frozen=True, slots=True)
class Busy:
    """How busy the renderers were, over all workers.

    Parameters
    ----------
    workers : int
        Processes that drew.
    rendering_share : float
        Share of the time from a worker's first rendering to its last that it was rendering; 0 .. 1.
    denoising_share : float
        Share of the same time that the denoiser ran.
    tail_s : float
        Seconds between the first worker's last rendering and the last worker's.
    """

    workers: int
    rendering_share: float
    denoising_share: float
    tail_s: float


def note_span(collection: Path, span: Span) -> None:
    """Add a rendering to the notes beside a collection."""
    folder = notes_folder(collection)
    folder.mkdir(exist_ok=True)
    with (folder / f"{span.process}.jsonl").open("a") as file:
        file.write(json.dumps(asdict(span)) + "\n")


def read_spans(collection: Path) -> list[Span]:
    """Return every rendering noted beside a collection."""
    files = sorted(notes_folder(collection).glob("*.jsonl"))
    return [Span(**json.loads(line)) for file in files for line in file.read_text().splitlines()]


def busy(spans: list[Span]) -> Busy:
    """Return how busy the workers were between their first rendering and their last."""
    by_worker = defaultdict(list)
    for span in spans:
        by_worker[span.process].append(span)
    window_s = sum(max(s.end_s for s in of) - min(s.start_s for s in of) for of in by_worker.values())
    ends = [max(s.end_s for s in of) for of in by_worker.values()]
    return Busy(
        len(by_worker),
        sum(map(_covered_s, by_worker.values())) / window_s,
        sum(s.denoising_s for s in spans) / window_s,
        max(ends) - min(ends),
    )


def _covered_s(spans: list[Span]) -> float:
    """Return the seconds in which at least one rendering was under way; one can be decoded beside the next."""
    covered_s, until_s = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.start_s):
        covered_s += max(0.0, span.end_s - max(span.start_s, until_s))
        until_s = max(until_s, span.end_s)
    return covered_s


def notes_folder(collection: Path) -> Path:
    """Return where the notes of a collection lie."""
    return collection.parent / f"{collection.name}-times"

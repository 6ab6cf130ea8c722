"""Line charts over time as SVG that stretches with the page; HTML draws the labels, so that a phone can show them.

Knows nothing of what the numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_POINTS = 240
_TICKS = 4
_CLOCK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis.

    Parameters
    ----------
    percent : float
        0 at the left or the bottom, 100 at the right or the top.
    value : float
        What stands there.
    """

    percent: float
    value: float


@dataclass(frozen=True, slots=True)
class LineChart:
    """A line over x, ready to be drawn in a box of 100 by 100 that is stretched.

    Parameters
    ----------
    line : str
        Points as SVG writes them, y downwards; empty when there are none.
    area : str
        The same, closed along the bottom.
    points : tuple of (float, float)
        Percent from the left and from the bottom.
    x_ticks, y_ticks : tuple of Tick
        Ascending.
    """

    line: str
    area: str
    points: tuple[tuple[float, float], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def line_chart(points: Sequence[tuple[float, float]]) -> LineChart:
    """Lay out a line chart over seconds, whose y axis starts at 0.

    Parameters
    ----------
    points : sequence of (float, float)
        Seconds, ascending, and a value of 0 or more. More than 240 are averaged in neighbours.

    Returns
    -------
    LineChart
        The chart.
    """
    shown = _averaged(points)
    if not shown:
        return LineChart("", "", (), (), ())
    first, last = shown[0][0], shown[-1][0]
    y_step, y_top = _scale(max(y for _, y in shown))
    width = (last - first) or 1.0
    placed = tuple((100 * (x - first) / width, 100 * y / y_top) for x, y in shown)
    line = " ".join(f"{x:.2f},{100 - y:.2f}" for x, y in placed)
    x_step = _time_step(width)
    return LineChart(
        line=line,
        area=f"{placed[0][0]:.2f},100 {line} {placed[-1][0]:.2f},100",
        points=placed,
        x_ticks=tuple(Tick(100 * x / width, first + x) for x in _multiples(x_step, width)),
        y_ticks=tuple(Tick(100 * y / y_top, y) for y in _multiples(y_step, y_top)),
    )


def _averaged(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    group = math.ceil(len(points) / _MOST_POINTS) or 1
    chunks = [points[at : at + group] for at in range(0, len(points), group)]
    return [(math.fsum(x for x, _ in c) / len(c), math.fsum(y for _, y in c) / len(c)) for c in chunks]


def _scale(most: float) -> tuple[float, float]:
    """Return a round step and the axis end, the first multiple of it that holds `most`."""
    if most < 1e-9:
        return 1.0, 1.0
    rough = most / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return step, step * math.ceil(most / step - 1e-9)


def _time_step(most_s: float) -> float:
    """Return a step that a clock has, for at most six on the axis; below a second and above a day, a round one."""
    fitting = [step for step in _CLOCK_STEPS_S if most_s / 6 <= step]
    return fitting[0] if most_s >= _CLOCK_STEPS_S[0] and fitting else _scale(most_s)[0]


def _multiples(step: float, most: float) -> list[float]:
    return [step * i for i in range(int(most / step + 1e-9) + 1)]

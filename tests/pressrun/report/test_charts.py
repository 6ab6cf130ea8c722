from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.report.charts import line_chart


@given(st.lists(st.floats(0, 1e6), max_size=800), st.floats(0.01, 1e4))
def test_a_chart_stays_in_its_box_whatever_the_numbers(values: list[float], step: float) -> None:
    chart = line_chart([(i * step, value) for i, value in enumerate(values)])
    assert len(chart.points) <= 240
    assert bool(chart.points) == bool(values)
    assert all(-1e-6 <= x <= 100 + 1e-6 and -1e-6 <= y <= 100 + 1e-6 for x, y in chart.points)
    for ticks in (chart.x_ticks, chart.y_ticks):
        assert len(ticks) <= 8
        assert [tick.percent for tick in ticks] == sorted(tick.percent for tick in ticks)
        assert all(-1e-6 <= tick.percent <= 100 + 1e-6 for tick in ticks)


def test_a_charts_axes_have_round_numbers() -> None:
    chart = line_chart([(0, 0), (200, 7.3)])
    assert [tick.value for tick in chart.y_ticks] == [0, 2, 4, 6, 8]
    assert [tick.value for tick in chart.x_ticks] == [0, 60, 120, 180]
    assert chart.points[-1] == (100, pytest.approx(91.25))

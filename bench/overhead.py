"""What everything around the model costs: `python -m bench.overhead --json found.json`.

Sections: `null` (pictures that take no time, by the ten thousand), `resume` (collections with nothing left to do),
`scaling` (more and more workers whose device sleeps).

Rivals: Ray Data and plain Dask on the same work. Ray comes by `pip install 'ray[data]'`, or with the extra `bench`;
where it is absent its rows are left out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from bench.findings import Findings
from bench.null_cost import compare_null_work
from bench.resume import compare_resume
from bench.rivals.ray_start import ray_is_here
from bench.scaling import show_scaling

Section = Literal["null", "resume", "scaling"]
_ALL: tuple[Section, ...] = ("null", "resume", "scaling")
_COUNTS = (10_000, 100_000)
app = App(name="bench.overhead", help=__doc__)


@app.default
def overhead(
    *,
    sections: Annotated[tuple[Section, ...], Parameter(consume_multiple=True)] = _ALL,
    counts: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = _COUNTS,
    held: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (1_000_000,),
    workers: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (1, 2, 4, 8),
    quick: Annotated[bool, Parameter(negative="")] = False,
    json: Path | None = None,
    scratch: Path | None = None,
) -> None:
    """Measure and show.

    Parameters
    ----------
    sections : tuple of str
        What to measure.
    counts : tuple of int
        Numbers of requests in the section `null`.
    held : tuple of int
        Sizes of the finished collections in the section `resume`.
    workers : tuple of int
        Numbers of workers in the section `scaling`.
    quick : bool
        A small run that only shows that everything works.
    json : Path
        File for the figures.
    scratch : Path
        Folder for what is made, a temporary one when left out.
    """
    findings = Findings(path=json)
    if not ray_is_here():
        findings.note("Ray Data is not installed (pip install 'ray[data]'), so its rows are left out.")
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as temporary:
        place = (scratch or Path(temporary)).absolute()
        if "null" in sections:
            compare_null_work(findings, (200,) if quick else counts, place / "null")
        if "resume" in sections:
            compare_resume(findings, (5000,) if quick else held, place / "resume")
        if "scaling" in sections:
            show_scaling(findings, (1, 2) if quick else workers, 32 if quick else 800, place / "scaling")


if __name__ == "__main__":
    app()

"""What everything around the model costs: `python -m bench.overhead --json found.json`.

Sections: `null` (pictures that take no time, by the ten thousand), `resume` (collections with nothing left to do),
`scaling` (more and more workers whose device sleeps).

Rivals: Ray Data and plain Dask on the same work. Ray comes by `pip install 'ray[data]'`, or with the extra `bench`;
where it is absent its rows are left out.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
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
_Numbers = Annotated[tuple[int, ...], Parameter(consume_multiple=True)]
app = App(name="bench.overhead", help=__doc__)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much each section measures.

    Parameters
    ----------
    counts : tuple of int
        Numbers of requests in the section `null`.
    held : tuple of int
        Sizes of the finished collections in the section `resume`.
    workers : tuple of int
        Numbers of workers in the section `scaling`.
    """

    counts: _Numbers = (10_000, 100_000)
    held: _Numbers = (1_000_000,)
    workers: _Numbers = (1, 2, 4, 8)


_FULL = Sizes()
_QUICK = Sizes(counts=(200,), held=(5000,), workers=(1, 2))


@app.default
def overhead(
    *,
    sections: Annotated[tuple[Section, ...], Parameter(consume_multiple=True)] = _ALL,
    sizes: Sizes = _FULL,
    quick: Annotated[bool, Parameter(negative="")] = False,
    json: Path | None = None,
    scratch: Path | None = None,
) -> None:
    """Measure and show.

    Parameters
    ----------
    sections : tuple of str
        What to measure.
    sizes : Sizes
        How much of it.
    quick : bool
        A small run that only shows that everything works.
    json : Path
        File for the figures.
    scratch : Path
        Folder for what is made, a temporary one when left out.
    """
    findings, chosen = Findings(path=json), _QUICK if quick else sizes
    if not ray_is_here():
        findings.note("Ray Data is not installed (pip install 'ray[data]'), so its rows are left out.")
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as temporary:
        place = (scratch or Path(temporary)).absolute()
        if "null" in sections:
            compare_null_work(findings, chosen.counts, place / "null")
        if "resume" in sections:
            compare_resume(findings, chosen.held, place / "resume")
        if "scaling" in sections:
            show_scaling(findings, chosen.workers, 32 if quick else 800, place / "scaling")


if __name__ == "__main__":
    app()

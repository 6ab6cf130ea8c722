"""How fast a model reaches every host: `python -m bench.cache --json found.json`.

Sections: `fleet` (all hosts at once, one origin of limited bandwidth), `growth` (more and more hosts), `refusals` (an
origin that answers 503 to a fifth of requests). On hosts with links of their own, which is Linux network namespaces and
needs root: `capped` (slow links, with rivals), `capped-growth`, `joiner` (one more host when all have the model),
`zones`, `faults` (hosts killed, cut off, sending spoilt bytes).

Rivals, in the same run on the same origin: s3fs, obstore and the Run:ai Model Streamer on each host for itself, Dask's
`replicate`; in `capped`, whose links are slow, s3fs and obstore alone. The streamer comes by
`pip install runai-model-streamer runai-model-streamer-s3`; where it is absent its rows are left out.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import App, Parameter

from bench.cache_bound import Fleet
from bench.cache_fleet import MEMORY, compare_fleet, show_growth, show_refusals
from bench.findings import Findings
from bench.host_sections import FULL, QUICK, show_host_sections

Section = Literal["fleet", "growth", "refusals", "capped", "capped-growth", "joiner", "zones", "faults"]
_ALL: tuple[Section, ...] = get_args(Section)
_Numbers = Annotated[tuple[int, ...], Parameter(consume_multiple=True)]
_MB = 1_000_000
app = App(name="bench.cache", help=__doc__)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much each section measures.

    Parameters
    ----------
    hosts : int
        Hosts of the sections `fleet` and `refusals`.
    growth : tuple of int
        Numbers of hosts in the section `growth`.
    model_mb : int
        Size of the model in megabytes.
    origin_mb_per_s : float
        Bandwidth of the origin, for all hosts together.
    """

    hosts: int = 8
    growth: _Numbers = (2, 4, 8, 16)
    model_mb: int = 512
    origin_mb_per_s: float = 50.0


_FULL = Sizes()
_QUICK = Sizes(hosts=2, growth=(1, 2), model_mb=8, origin_mb_per_s=20.0)


@app.default
def cache(
    *,
    sections: Annotated[tuple[Section, ...], Parameter(consume_multiple=True)] = _ALL,
    sizes: Sizes = _FULL,
    quick: Annotated[bool, Parameter(negative="")] = False,
    json: Path | None = None,
    scratch: Path = MEMORY,
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
        Where a folder is made for what is measured, and removed; one in memory when left out.
    """
    findings, chosen = Findings(path=json), _QUICK if quick else sizes
    fleet = Fleet(chosen.hosts, chosen.model_mb * _MB, chosen.origin_mb_per_s * _MB)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch, ignore_cleanup_errors=True) as temporary:
        if "fleet" in sections:
            compare_fleet(findings, fleet, Path(temporary))
        if "growth" in sections:
            show_growth(findings, [replace(fleet, hosts=count) for count in chosen.growth], Path(temporary))
        if "refusals" in sections:
            show_refusals(findings, fleet, Path(temporary))
        show_host_sections(findings, sections, QUICK if quick else FULL, Path(temporary))


if __name__ == "__main__":
    app()

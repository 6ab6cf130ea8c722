"""The sections of `bench.cache` on hosts with links of their own, and how much each measures.

Chunks are of 1 MiB, so that models small enough for slow links have as many as large ones have of 8 MiB.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cache_faults import show_faults
from bench.cache_hosts import show_capped, show_capped_growth, show_joiner, show_zones
from bench.findings import Findings
from bench.host_trial import HostLoad
from bench.network_hosts import LinkSpeed, NoNetwork

_MB = 1_000_000
_LINK = LinkSpeed(4 * _MB, 4 * _MB)


@dataclass(frozen=True, slots=True)
class HostSizes:
    """How much each section measures.

    Parameters
    ----------
    capped, joiner, zones, faults : HostLoad
        What the section of that name loads.
    growth : HostLoad
        What the section `capped-growth` loads, on other numbers of hosts.
    counts : tuple of int
        Those.
    """

    capped: HostLoad
    growth: HostLoad
    joiner: HostLoad
    zones: HostLoad
    faults: HostLoad
    counts: tuple[int, ...]


FULL = HostSizes(
    capped=HostLoad(12, 128 * _MB, 2**20, _LINK, 8 * _MB),
    growth=HostLoad(2, 192 * _MB, 2**20, _LINK, 8 * _MB),
    joiner=HostLoad(8, 96 * _MB, 2**20, _LINK, 16 * _MB),
    zones=HostLoad(8, 96 * _MB, 2**20, _LINK, 8 * _MB),
    faults=HostLoad(8, 128 * _MB, 2**20, _LINK, 8 * _MB),
    counts=(2, 4, 8, 12, 16),
)
_SMALL = HostLoad(4, 4 * _MB, 2**16, _LINK, 8 * _MB)
QUICK = HostSizes(replace(_SMALL, hosts=2), _SMALL, _SMALL, _SMALL, _SMALL, (2, 3))


def show_host_sections(findings: Findings, sections: Collection[str], sizes: HostSizes, scratch: Path) -> None:
    """Measure and show those sections of this module that are asked for.

    Parameters
    ----------
    findings : Findings
        Takes the tables.
    sections : collection of str
        Names; others than those of this module are passed over.
    sizes : HostSizes
        How much.
    scratch : Path
        Folder in memory.
    """
    known: Mapping[str, Callable[[], None]] = {
        "capped": lambda: show_capped(findings, sizes.capped, scratch),
        "capped-growth": lambda: show_capped_growth(findings, sizes.counts, sizes.growth, scratch),
        "joiner": lambda: show_joiner(findings, sizes.joiner, scratch),
        "zones": lambda: show_zones(findings, sizes.zones, scratch),
        "faults": lambda: show_faults(findings, sizes.faults, scratch),
    }
    for name, show in known.items():
        if name in sections:
            try:
                show()
            except NoNetwork as error:
                findings.note(f"Section {name} is left out: {error}.")


__all__ = ["FULL", "QUICK", "HostSizes", "show_host_sections"]

"""Which workers a batch should go to: those that hold its model, then those close to these.

Knows nothing of Dask, nor of how it was found out who holds what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pressrun.cache.options import AffinityMode

_IN_MEMORY, _ON_DISK, _NEAR, _ELSEWHERE = range(4)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker that a batch could go to.

    Parameters
    ----------
    address : str
        Names it.
    zone : str
        Where it is; "" is a zone too.
    in_memory : frozenset of str
        Renderers that are loaded there.
    on_disk : frozenset of str
        Model revisions on its host's disk.
    load : float
        Batches that were sent there and have not come back.
    """

    address: str
    zone: str = ""
    in_memory: frozenset[str] = frozenset()
    on_disk: frozenset[str] = frozenset()
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a batch needs.

    Parameters
    ----------
    renderer : str
        The loaded model with its settings.
    revision : str
        The model's revision; "" when every host has it, as a local or mounted one.
    """

    renderer: str
    revision: str


def choose(
    candidates: Sequence[Candidate], wanted: Wanted, mode: AffinityMode, head_start: float
) -> tuple[str, ...] | None:
    """Return the workers that a batch should go to.

    Best are those with the model in memory, then on disk, then in the zone of one of these, then all others.

    Parameters
    ----------
    candidates : sequence of Candidate
        Every worker there is.
    wanted : Wanted
        What the batch needs.
    mode : AffinityMode
        "soft" passes over workers that are busy, "hard" does not, "off" names nobody.
    head_start : float
        How many batches more than one of the next kind a worker may have before it is passed over.

    Returns
    -------
    tuple of str or None
        Addresses, sorted, all of one kind; None when there is one kind only, so that any worker is as good as another.
    """
    if mode == "off":
        return None
    near = {one.zone for one in candidates if _standing(one, wanted, set()) <= _ON_DISK}
    standings = {one.address: _standing(one, wanted, near) for one in candidates}
    if len(set(standings.values())) < 2:
        return None

    def order(one: Candidate) -> tuple[float, int]:
        standing = standings[one.address]
        return (standing if mode == "hard" else one.load + head_start * standing), standing

    best = min(candidates, key=order)
    alike = [one for one in candidates if standings[one.address] == standings[best.address]]
    return tuple(sorted(one.address for one in alike if mode == "hard" or one.load < best.load + head_start))


def _standing(one: Candidate, wanted: Wanted, near: set[str]) -> int:
    if wanted.renderer in one.in_memory:
        return _IN_MEMORY
    if not wanted.revision or wanted.revision in one.on_disk:
        return _ON_DISK
    return _NEAR if one.zone in near else _ELSEWHERE

"""The collections that a job may take pictures over from: those it names, and those in the folders it names.

Knows nothing of pictures. A collection named by itself must fit; in a folder of several, those that do not fit are
passed over and told. A tenant bounds what is taken over; it is no protection of what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pressrun import layout
from pressrun.collection import Identity, find_identity
from pressrun.errors import InvalidCollection, InvalidJob
from pressrun.job import Reuse
from pressrun.location import Location
from pressrun.storage import Store, reached

_LOOKS_AT_ONCE = 16
_TENANT = "tenant"
_UNREADABLE = "not readable"
_Misfit = tuple[str, str, str]  # its name, what the collection has, what the job has


@dataclass(frozen=True, slots=True)
class Library:
    """Where pictures are taken over from.

    Parameters
    ----------
    collections : tuple of Location
        In the order in which they are asked.
    passed_over : mapping of str to tuple of str
        By what does not fit ("tenant", "embedder", "image format", "not readable"), the collections that were found and
        are not used.
    """

    collections: tuple[Location, ...] = ()
    passed_over: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def refusal(self) -> str:
        """What was passed over and why, in one line; "" when nothing was."""
        if not self.passed_over:
            return ""
        count = sum(map(len, self.passed_over.values()))
        kinds = "; ".join(f"{reason}: {len(names)}, as {names[0]}" for reason, names in self.passed_over.items())
        remedy = "; --reuse-across-tenants would ask those of other tenants too" if _TENANT in self.passed_over else ""
        return f"Collections passed over for what does not fit: {count} ({kinds}){remedy}"


def find_library(reuse: Reuse, wanted: Identity, own: Location) -> Library:
    """Return the collections to take pictures over from.

    Parameters
    ----------
    reuse : Reuse
        What the job says of it.
    wanted : Identity
        Of the job's collection.
    own : Location
        The job's collection, which is never asked.

    Raises
    ------
    InvalidCollection
        When a place holds neither a collection nor any in its folders, or cannot be reached.
    InvalidJob
        When a collection named by itself does not fit, or is of another tenant.
    """
    found: dict[str, Location] = {}
    passed_over: dict[str, tuple[str, ...]] = {}
    for place in (place.absolute() for place in reuse.places):
        _check_reach(place, own, reuse)
        if (identity := find_identity(Store(place))) is not None:
            _check(place, _misfits(identity, wanted, reuse))
            found[_key(place)] = place
            continue
        for member, misfit in _members(place, wanted, reuse):
            if _key(member) == _key(own.absolute()):
                continue
            if not misfit:
                found[_key(member)] = member
            elif str(member) not in (names := passed_over.get(misfit, ())):
                passed_over[misfit] = (*names, str(member))
    found.pop(_key(own.absolute()), None)
    return Library(tuple(found.values()), passed_over)


def _members(place: Location, wanted: Identity, reuse: Reuse) -> Iterator[tuple[Location, str]]:
    """Yield every collection directly in a place, and the name of what does not fit, "" when all does."""
    store = Store(place)
    folders = [place.child(name) for name in reached(store, lambda: store.folders(""))]

    def look(folder: Location) -> str | None:
        try:
            identity = find_identity(Store(folder))
        except InvalidCollection:
            return _UNREADABLE
        return None if identity is None else next((name for name, _, _ in _misfits(identity, wanted, reuse)), "")

    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as threads:
        looks = list(threads.map(look, folders))
    if all(look is None for look in looks):
        raise InvalidCollection(
            f"{place} holds no collection (no {layout.COLLECTION}), and no folder directly in it does; give a "
            "collection, or a folder of collections."
        )
    yield from ((folder, look) for folder, look in zip(folders, looks, strict=True) if look is not None)


def _check(place: Location, misfits: list[_Misfit]) -> None:
    for name, theirs, ours in misfits:
        remedy = "allow it with --reuse-across-tenants" if name == _TENANT else f"use the same {name}"
        raise InvalidJob(
            f"Pictures of {place} cannot be taken over: its {name} is {theirs}, the job's is {ours}; {remedy} or leave "
            "this collection out."
        )


def _misfits(found: Identity, wanted: Identity, reuse: Reuse) -> list[_Misfit]:
    """Return what does not fit, the tenant first."""
    facts = [
        ("embedder", found.embedder[:12] or "none", wanted.embedder[:12] or "none"),
        ("image format", found.image_ending, wanted.image_ending),
    ]
    if not reuse.across_tenants:
        facts.insert(0, (_TENANT, found.tenant or "none", wanted.tenant or "none"))
    return [fact for fact in facts if fact[1] != fact[2]]


def _check_reach(place: Location, own: Location, reuse: Reuse) -> None:
    if reuse.how == "reference" and place.is_local and not own.is_local:
        raise InvalidJob(
            f"{own} cannot refer to pictures in {place}: it is read from elsewhere, where that folder is not there; "
            "copy them, or give a place that every reader reaches."
        )


def _key(place: Location) -> str:
    return str(place).rstrip("/")

"""`pressrun verify`: the proof that a collection is what its manifest says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from deployments.console import ExitCode, err, out
from deployments.replay_command import line_of
from pressrun.collection import read_identity
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.writer_claim import WriterClaim

if TYPE_CHECKING:  # brings faiss, which `pressrun --help` need not wait for
    from pressrun.replay.record import ReplaySummary
    from pressrun.verification import Verification

_MOST_FLAWS = 50


def verify(
    collection: str,
    *,
    repair: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> ExitCode:
    """Prove a collection: every row one object with the right hash, no orphans, index and manifest the same.

    Parameters
    ----------
    collection : str
        Folder or URL of a collection.
    repair : bool
        Put right what is wrong; images that are lost are rendered again by the next run.
    as_json : bool
        Print what was found as JSON.
    """
    from pressrun import verification
    from pressrun.replay.record import last_replay

    store = Store(Location(collection))
    found = _repaired(store) if repair else verification.verify(store)
    _show(found, last_replay(store), as_json)
    return ExitCode.DONE if found.is_sound else ExitCode.UNSOUND


def _repaired(store: Store) -> Verification:
    from pressrun import verification

    read_identity(store)  # nothing is claimed where there is no collection
    with _sole_writer(store):
        found = verification.verify(store)
        if found.is_sound:
            return found
        for flaw in found.flaws[:_MOST_FLAWS]:
            err.print(Text(f"  mending {flaw.kind} {flaw.name}: {flaw.detail}"), soft_wrap=True)
        verification.mend(store, found)
        return verification.verify(store)


@contextmanager
def _sole_writer(store: Store) -> Iterator[None]:
    claim = WriterClaim(store, f"repair-{os.getpid()}")
    claim.acquire()
    try:
        yield
    finally:
        claim.release()


def _show(found: Verification, replayed: ReplaySummary | None, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(_record(found, replayed)))
        return
    elsewhere = f", {found.references} in other collections" if found.references else ""
    line = (
        f"{found.images} images, {found.objects} objects{elsewhere}, {found.size_bytes / 1e6:.1f} MB, "
        f"{found.indexed} in the index"
    )
    if found.is_sound:
        out.print(f"[bold green]sound[/]: {line}; every hash is right", highlight=False)
    else:
        out.print(f"[bold red]{len(found.flaws)} flaws[/]: {line}", highlight=False)
    for flaw in found.flaws[:_MOST_FLAWS]:
        out.print(Text(f"  {flaw.kind} {flaw.name}: {flaw.detail}"), soft_wrap=True)
    if len(found.flaws) > _MOST_FLAWS:
        out.print(f"  ... and {len(found.flaws) - _MOST_FLAWS} more; --json lists them all")
    if replayed is not None:
        out.print(Text(f"  last replay, {replayed.replayed_at}: {line_of(replayed)}"), soft_wrap=True)


def _record(found: Verification, replayed: ReplaySummary | None) -> dict[str, object]:
    return {
        "sound": found.is_sound,
        "images": found.images,
        "objects": found.objects,
        "references": found.references,
        "indexed": found.indexed,
        "size_bytes": found.size_bytes,
        "flaws": [{"kind": flaw.kind, "name": flaw.name, "detail": flaw.detail} for flaw in found.flaws],
        "last_replay": None if replayed is None else replayed.record(),
    }

"""`pressrun replay`: a sample of a collection's pictures drawn again elsewhere and compared bit by bit."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from deployments.console import ExitCode, err, out
from deployments.generate_command import places_by_name
from deployments.live_progress import LiveProgress
from pressrun.errors import InvalidJob
from pressrun.location import Location
from pressrun.progress import listening
from pressrun.storage import Store

if TYPE_CHECKING:  # these bring Arrow and Dask, which `pressrun --help` need not wait for
    from pressrun.replay.draft import ReplayDraft
    from pressrun.replay.record import ReplaySummary, Sighting

_MOST_STEPS = 255


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """Which pictures to draw again, where, and how like they must be.

    Parameters
    ----------
    sample : int
        Pictures to draw again.
    seed : int
        Decides which pictures, in which slots and with which companions; drawn and recorded when left out.
    tolerance : int
        Steps of 255 by which a value may differ; when left out, none where nothing that decides bits has changed, else
        what is usual for the number format.
    model : sequence of str
        Folder of the model that drew the pictures, where it is not where the run found it; may be given several times.
    adapter : sequence of str
        A LoRA adapter that drew the pictures, as NAME=FILE, where it is not where the run found it; may be given
        several times.
    workers : int
        Worker processes on this machine; with two or more, each picture is drawn by another than before.
    dask : str
        Address of a running Dask scheduler to use instead of workers on this machine.
    """

    sample: int = 20
    seed: int | None = None
    tolerance: int | None = None
    model: Annotated[tuple[str, ...], Parameter(alias="-m", negative="")] = ()
    adapter: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    workers: int = 2
    dask: str | None = None


_PLAIN = ReplayOptions()


def replay(
    collection: str,
    options: ReplayOptions = _PLAIN,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> ExitCode:
    """Draw a random sample of a collection's pictures again, in other slots and company and on other workers.

    Batch size, number format and threads are those of each picture's row. What comes out is compared with the stored
    pictures and recorded in the collection under replays/; pictures and rows stay as they are.

    Parameters
    ----------
    collection : str
        Folder or URL of a collection.
    options : ReplayOptions
        Which pictures, where, and how like they must be.
    as_json : bool
        Print the result as JSON.
    """
    from pressrun.replay.draft import draft_replay
    from pressrun.replay.record import judged, summarise, write_replay

    _check(options)
    now = datetime.now(UTC)
    replay_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    seed = secrets.randbits(32) if options.seed is None else options.seed
    place = Location(collection).absolute()
    with LiveProgress(err) as progress, listening(progress):
        progress.say("check", "reading rows and model")
        models = [Location(url).absolute() for url in options.model]
        adapters = {name: Location(url).absolute() for name, url in places_by_name(options.adapter).items()}
        draft = draft_replay(place, options.sample, seed, models, adapters)
        sightings = _draw(draft, options, replay_id)
    rows = judged(sightings, options.tolerance, seed, now)
    name = write_replay(Store(place), replay_id, rows)
    summary = summarise(replay_id, rows)
    _show(summary, f"{collection.rstrip('/')}/{name}", as_json)
    return ExitCode.DONE if summary.is_sound else ExitCode.UNSOUND


def line_of(summary: ReplaySummary) -> str:
    """Return a replay in one line."""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(summary.verdicts.items()))
    line = (
        f"{summary.pictures} pictures drawn again {summary.drawings} times, {summary.on_another_worker} of them by "
        f"another worker: {verdicts}"
    )
    if not summary.max_steps:
        return line
    return (
        f"{line}; {summary.equal_share:.2%} of values equal, largest difference {summary.max_steps} of 255 "
        f"(allowed {summary.allowed_steps}), mean {summary.mean_steps:.3f}, PSNR {summary.least_psnr_db:.1f} dB or more"
    )


def _check(options: ReplayOptions) -> None:
    if options.sample < 1:
        raise InvalidJob(f"--sample {options.sample} leaves nothing to draw; give 1 or more.")
    if options.workers < 1:
        raise InvalidJob(f"--workers {options.workers} leaves nobody to draw; give 1 or more, 2 to change workers.")
    if options.tolerance is not None and not 0 <= options.tolerance <= _MOST_STEPS:
        raise InvalidJob(f"--tolerance {options.tolerance} is out of range; give 0 to {_MOST_STEPS} steps.")
    if options.seed is not None and not 0 <= options.seed < 2**63:
        raise InvalidJob(f"--seed {options.seed} is out of range; give 0 to {2**63 - 1}.")


def _draw(draft: ReplayDraft, options: ReplayOptions, replay_id: str) -> list[Sighting]:
    from workers.fleet import Fleet, JoinedFleet, LocalFleet
    from workers.replay_dispatch import replay as draw_all

    fleet: Fleet = LocalFleet(options.workers) if options.dask is None else JoinedFleet(options.dask)
    try:
        return draw_all(draft, fleet, options.workers, replay_id)
    finally:
        fleet.close()


def _show(summary: ReplaySummary, name: str, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(summary.record()))
        return
    head = "[bold green]sound[/]" if summary.is_sound else "[bold red]different[/]"
    out.print(f"{head}: {line_of(summary)}", highlight=False, soft_wrap=True)
    for change, drawings in summary.changes.items():
        out.print(Text(f"  {change} ({drawings} of {summary.drawings} drawings)"), soft_wrap=True)
    out.print(Text(f"  seed {summary.seed}   {name}"), soft_wrap=True)

"""`pressrun report`: the page that tells how a run went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from deployments.console import ExitCode, out
from pressrun import layout
from pressrun.collection import read_identity
from pressrun.errors import InvalidCollection
from pressrun.location import Location
from pressrun.storage import Store


def report(
    collection: str, *, run: str | None = None, output: Annotated[Path | None, Parameter(alias="-o")] = None
) -> ExitCode:
    """Draw the report of a run again, and print where it is.

    Parameters
    ----------
    collection : str
        Folder or URL of a collection.
    run : str
        One of the folders under runs/; the last one that has a report when left out.
    output : Path
        HTML file to write; the collection's own report.html when left out.
    """
    from pressrun.report.facts import ReportFacts
    from pressrun.report.page import write_report

    store = Store(Location(collection))
    read_identity(store)
    page = write_report(ReportFacts.from_json(store.read(_facts_name(store, run)))).encode()
    if output is None:
        store.write(layout.REPORT, page)
    else:
        output.write_bytes(page)
    place = str(output) if output else f"{str(store.location).rstrip('/')}/{layout.REPORT}"
    out.print(Text(place), soft_wrap=True)
    return ExitCode.DONE


def _facts_name(store: Store, run: str | None) -> str:
    names = sorted(name for name, _ in store.walk(layout.RUNS) if name.endswith("/report.json"))
    if run is not None:
        names = [name for name in names if name == layout.run(run, "report.json")]
    if not names:
        which = f"run {run}" if run else "any run"
        raise InvalidCollection(f"{store.location} has no report of {which}; `runs/` lists the runs.")
    return names[-1]

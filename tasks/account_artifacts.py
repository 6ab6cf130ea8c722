"""A run's account as Prefect artifacts: a summary, a table of stages, the contact sheet, a link to the report.

Knows nothing of how the account was made.
"""

from __future__ import annotations

import base64
import os
from urllib.parse import quote

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from pressrun import layout
from pressrun.report.facts import ReportFacts
from pressrun.report.page import markdown_summary
from pressrun.report.thumbnail import thumbnail
from pressrun.storage import Store
from pressrun.wording import duration

REPORTS_URL = "PRESSRUN_REPORTS_URL"  # set where a server shows the reports of this host's collections
_SHEET_PX = 1200
_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff\xe0": "image/jpeg"}


def show_account(facts: ReportFacts, store: Store) -> None:
    """Create the artifacts in the current flow run; does nothing outside one."""
    if FlowRunContext.get() is None:
        return
    create_markdown_artifact(markdown_summary(facts), key="report", description=f"Report of run {facts.run_id}")
    create_table_artifact(
        [{"stage": stage.name, "time": duration(stage.seconds), "state": stage.state} for stage in facts.stages],
        key="stages",
        description=f"Stages of run {facts.run_id}",
    )
    if store.exists(layout.CONTACT_SHEET):
        create_markdown_artifact(_pictures(store), key="contact-sheet", description=f"Pictures of {store.location}")
    create_link_artifact(_report_link(store), link_text="The whole report, with pictures", key="report-page")


def _pictures(store: Store) -> str:
    """Return Markdown that holds the contact sheet itself, so that it shows wherever the collection is."""
    # An image artifact would print the whole address, some hundred thousand signs, below the picture.
    data = thumbnail(store.read(layout.CONTACT_SHEET), _SHEET_PX)
    return f"![Contact sheet](data:{_SIGNATURES[data[:4]]};base64,{base64.b64encode(data).decode()})"


def _report_link(store: Store) -> str:
    if not store.is_local:
        return f"{str(store.location).rstrip('/')}/{layout.REPORT}"
    place = quote(store.path(layout.REPORT))
    return os.environ.get(REPORTS_URL, "file://") + place

"""A run's account as Prefect artifacts: a summary, a table of stages, a link to the report.

Knows nothing of how the account was made.
"""

from __future__ import annotations

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from pressrun import layout
from pressrun.report.facts import ReportFacts
from pressrun.report.page import duration, markdown_summary
from pressrun.storage import Store


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
    place = store.path(layout.REPORT)
    link = f"file://{place}" if store.is_local else f"{str(store.location).rstrip('/')}/{layout.REPORT}"
    create_link_artifact(link, link_text="The whole report, with pictures", key="report-page")

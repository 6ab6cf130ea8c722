"""How weights came to the hosts, where people see it: the run's log, Prefect artifacts, the news.

Knows nothing of how it was counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.artifacts import create_table_artifact
from prefect.context import FlowRunContext

from pressrun.cache.traffic_report import TrafficReport
from pressrun.cache.traffic_wording import EFFICIENCY_CLAIM, headline, rows
from pressrun.ledger import Ledger
from pressrun.progress import News, listening, tell
from tasks.progress_artifact import ProgressArtifact
from tasks.run_log import log_line


def show_traffic(report: TrafficReport | None, stage: str = "provision cache") -> None:
    """Show how weights came to the hosts; None, when nothing had to be brought, shows nothing."""
    if report is None or not report.hosts:
        return
    log_line(f"model cache: {headline(report)}")
    tell(News(stage, note=f"model cache: {headline(report)}"))
    if FlowRunContext.get() is not None:
        description = f"Model cache: {headline(report)}. {EFFICIENCY_CLAIM}"
        create_table_artifact(rows(report), key="cache", description=description)


def show_new_traffic(ledger: Ledger, stage: str) -> None:
    """Read the traffic once more, and show it where a stage has added to it: by workers that came, or from memory."""
    before = ledger.traffic
    ledger.take_traffic()
    if ledger.traffic is not None and (before is None or ledger.traffic.total.all_bytes != before.total.all_bytes):
        show_traffic(ledger.traffic, stage)


@contextmanager
def showing_bring() -> Iterator[None]:
    """Show a progress bar in the Prefect UI for as long as the block tells how far weights are on their way."""
    bars: list[ProgressArtifact] = []

    def update(news: News) -> None:
        if news.share is None:
            return
        if not bars:  # most runs find everything in place
            bars.append(ProgressArtifact("weights on their way", key="cache-progress"))
        bars[0].update(news)

    try:
        with listening(update):
            yield
    finally:
        for bar in bars:
            bar.finish()

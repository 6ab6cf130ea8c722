"""A quote where people see it: the run's log, a Prefect table artifact, the news.

Knows nothing of how the quote was made.
"""

from __future__ import annotations

from prefect.artifacts import create_table_artifact
from prefect.context import FlowRunContext

from pressrun.progress import News, tell
from pressrun.quote import Quote
from pressrun.quote_wording import all_offers, headline, rows
from tasks.run_log import log_line


def show_quote(quote: Quote | None) -> None:
    """Show a quote; None, when no speed is known, shows nothing."""
    if quote is None:
        return
    log_line(f"quote for {headline(quote)} (of {all_offers(quote)})")
    tell(News("scale out", note=f"quote for {headline(quote)}"))
    if FlowRunContext.get() is not None:
        create_table_artifact(rows(quote), key="quote", description=f"Quote for {headline(quote)}")

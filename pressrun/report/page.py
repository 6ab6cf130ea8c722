"""The report of a run: one HTML page that opens anywhere, offline, and a summary in Markdown.

Knows nothing of how the facts were gathered. Whatever a user wrote is shown as text, never as markup; the page's own
policy forbids scripts and every request.
"""

from __future__ import annotations

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from pressrun.cache.traffic_report import TrafficReport
from pressrun.cache.traffic_wording import headline, rows
from pressrun.report.cache_section import cache_section
from pressrun.report.charts import line_chart
from pressrun.report.facts import ReportFacts
from pressrun.wording import amount, duration, quantity

_OUTCOMES = {
    "completed": "Completed",
    "partial": "Completed, with failures",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
_MARKDOWN_FAILURES = 10
_MARKDOWN_HOSTS = 20
_MARKDOWN_SIGNS = ("\\", "`", "*", "_", "[", "]", "<", ">", "|", "#", "!", "~", "&", "$")


def write_report(facts: ReportFacts) -> str:
    """Return the report as one self-contained HTML page.

    Parameters
    ----------
    facts : ReportFacts
        What to tell.

    Returns
    -------
    str
        HTML with its styles, charts and pictures inside; the same for the same facts.
    """
    return _template().render(
        facts=facts,
        outcome=_OUTCOMES.get(facts.outcome, facts.outcome),
        throughput=line_chart([(point.at_s, point.images_per_s) for point in facts.throughput]),
        longest_stage_s=max((stage.seconds for stage in facts.stages), default=0) or 1,
        longest_offer_s=max((offer.wall_s for offer in facts.offers), default=0) or 1,
        cache=cache_section(facts.traffic),
        fastest=max((speed.images_per_s or 0 for speed in facts.batch_speeds), default=0) or 1,
    )


def markdown_summary(facts: ReportFacts) -> str:
    """Return the headline numbers, stages and first failures as Markdown.

    Parameters
    ----------
    facts : ReportFacts
        What to tell.

    Returns
    -------
    str
        Headings, tables and text; signs with a meaning in Markdown or HTML are escaped in what users wrote.
    """
    lines = [f"# {_OUTCOMES.get(facts.outcome, facts.outcome)}: {facts.images_made:,} images made", ""]
    if facts.message:
        lines += [f"> {_plain(facts.message)}", ""]
    lines += [*_table("", "", *_headline(facts)), ""]
    if facts.quote:
        lines += [f"Quoted before scale-out: {_plain(facts.quote)}", ""]
    if facts.stages:
        lines += ["## Stages", "", "| Stage | Time | State |", "|---|---:|---|"]
        lines += [f"| {_plain(s.name)} | {duration(s.seconds)} | {_plain(s.state)} |" for s in facts.stages] + [""]
    if facts.traffic is not None and facts.traffic.total.all_bytes:
        lines += ["## Model cache", "", _plain(headline(facts.traffic), 400), "", *_hosts(facts.traffic), ""]
    if facts.images_failed:
        lines += [f"## {facts.images_failed:,} failed", "", "| Prompt | Stage | Error |", "|---|---|---|"]
        shown = facts.failures[:_MARKDOWN_FAILURES]
        lines += [f"| {_plain(f.prompt)} | {_plain(f.stage)} | {_plain(f.error)} |" for f in shown] + [""]
    return "\n".join(lines)


def _hosts(traffic: TrafficReport) -> list[str]:
    """Return a Markdown table with a row a host; of many, the first and the sum."""
    table = rows(traffic)
    shown = table if len(table) <= _MARKDOWN_HOSTS else [*table[: _MARKDOWN_HOSTS - 1], table[-1]]
    names = list(table[0])
    cells = [[_plain(row[name]) for name in names] for row in shown]
    return [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *cells)]


def _headline(facts: ReportFacts) -> list[tuple[str, str]]:
    rows = [
        ("Images made", f"{facts.images_made:,}"),
        ("Already there", f"{facts.images_reused:,}"),
        ("Failed", f"{facts.images_failed:,}"),
        ("Wall time", duration(facts.wall_s)),
        ("Images a second", quantity(facts.images_per_s)),
        ("Workers", f"{facts.workers:,}"),
    ]
    if facts.cost is not None:
        rows.append(("Cost", f"{amount(facts.cost)} {_plain(facts.currency)}"))
    return [*rows, ("Model", _plain(facts.model_name)), ("Collection", _plain(facts.collection))]


def _table(left: str, right: str, *rows: tuple[str, str]) -> list[str]:
    return [f"| {left} | {right} |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]


def _plain(text: str, most: int = 160) -> str:
    """Return text on one line, shortened, that Markdown shows as it is."""
    line = " ".join(text.split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return "".join(f"&#{ord(sign)};" if sign in _MARKDOWN_SIGNS else sign for sign in line)


def _data_url(picture: bytes) -> str:
    kind = next((kind for start, kind in _SIGNATURES.items() if picture.startswith(start)), "image/png")
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"


def _moment(iso: str) -> str:
    """Return "2026-01-31T10:20:30.123+00:00" as "2026-01-31 10:20:30"."""
    return iso[:19].replace("T", " ")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("pressrun.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "amount": amount,
        "data_url": _data_url,
        "duration": duration,
        "moment": _moment,
        "quantity": quantity,
    }
    return environment.get_template("report.html.j2")

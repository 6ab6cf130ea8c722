from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from pressrun.cache.traffic_report import HostTraffic, TrafficReport
from pressrun.errors import InvalidCollection
from pressrun.report.facts import (
    BatchSpeed,
    FailedImage,
    Picture,
    QuotedOffer,
    ReportFacts,
    SearchExample,
    StageTime,
    ThroughputPoint,
)
from pressrun.report.page import markdown_summary, write_report

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCRIPT = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>"


def picture(number: int, kind: str = "PNG", **options: Any) -> Picture:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (8 * number, 90, 160)).save(buffer, kind)
    return Picture(f"{number:032x}", options.pop("prompt", f"a star number {number}"), buffer.getvalue(), **options)


BARE = ReportFacts(
    run_id="20260131-brisk-heron",
    collection="s3://bucket/out",
    outcome="completed",
    started_at="2026-01-31T10:20:30.1+00:00",
    finished_at="2026-01-31T10:21:42+00:00",
    images_asked=240,
    images_made=1207,
    images_reused=32,
    images_failed=0,
    wall_s=72.4,
    images_per_s=6.13,
    workers=2,
    model_name="shapes",
    model_revision="3f9c21ab",
)
MB = 10**6
TRAFFIC = TrafficReport(
    hosts=(
        HostTraffic(
            f"alpha {SCRIPT}",
            zone="a",
            origin_bytes=300 * MB,
            same_zone_bytes=100 * MB,
            other_zone_bytes=50 * MB,
            disk_bytes=40 * MB,
            memory_bytes=22 * MB,
            chunks=54,
            lacked_bytes=450 * MB,
            sent_bytes=140 * MB,
            faults={"corrupt": 2},
            bring_s=11.0,
            receiving_s=10.0,
            sending_s=7.0,
            first_at=3.0,
            last_at=14.0,
        ),
        HostTraffic("beta", other_zone_bytes=140 * MB, chunks=17, lacked_bytes=140 * MB, bring_s=9.0, receiving_s=9.0),
    ),
    content_bytes=300 * MB,
    bring_s=11.0,
    origin_s=10.0,
    taken_at=15.0,
)
FULL = replace(
    BARE,
    outcome="partial",
    images_failed=120,
    cost=0.0042,
    message="1 of 3 workers was lost.",
    chosen_batch_size=16,
    stages=(StageTime("warm model", 6.3, note="sizes 1 to 64"), StageTime("generate", 34.1, "failed")),
    throughput=tuple(ThroughputPoint(i / 2, 6.0 + i % 3) for i in range(40)),
    batch_speeds=(BatchSpeed(8, 2.75), BatchSpeed(16, 3.11), BatchSpeed(64, None, "needs 31.0 GB, 24.0 GB free")),
    offers=(QuotedOffer(1, 7200.0, 4.0), QuotedOffer(2, 3600.0, 4.1, chosen=True)),
    quote="1,207 images, 2 h of drawing: 2 workers 1 h, 4.10",
    failures=(FailedImage(SCRIPT, "render", "ValueError: <b>no</b>", 3),),
    samples=(picture(1, prompt=SCRIPT), picture(2, "JPEG"), picture(3, "WEBP")),
    searches=(SearchExample(SCRIPT, (picture(4, score=0.412), picture(5, score=0.3))),),
    versions={"torch": "2.13.0", SCRIPT: SCRIPT},
    settings={"steps": "20"},
    traffic=TRAFFIC,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM} to open the report in")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_in_a_browser_offline_and_whole(
    browser: Browser, tmp_path: Path, width: int, scheme: Any
) -> None:
    path = tmp_path / "report.html"
    path.write_text(write_report(FULL), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    headings = [
        "Failures",
        "Pictures",
        "Search by meaning",
        "Throughput",
        "Stages",
        "Batch size",
        "Model cache",
        "Quote",
        "Provenance",
    ]
    for heading in headings:
        assert page.get_by_role("heading", name=heading, exact=True).is_visible(), heading
    assert page.evaluate("[...document.images].every(image => image.naturalWidth === 32)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.title() == "Pressrun · 20260131-brisk-heron"
    assert SCRIPT in page.inner_text("body")
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    lightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (lightness[0] < lightness[1]) == (scheme == "light")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    page.close()


def test_what_users_wrote_is_never_markup() -> None:
    html = write_report(FULL)
    assert "<script" not in html
    assert html.count("<img") == 5  # the pictures, and none of the prompts'
    assert "<b>no</b>" not in html


def test_the_headline_numbers_are_there() -> None:
    html = write_report(FULL)
    for text in (
        "1,207",
        "1 min 12 s",
        "6.13",
        "0.0042",
        "Completed, with failures",
        "1 of 3 workers was lost.",
        "119 more",
    ):
        assert text in html


def test_a_run_that_did_nothing_has_a_report() -> None:
    html = write_report(replace(BARE, images_made=0, images_per_s=0, wall_s=0))
    assert "0 pictures in 0 s" in html
    for absent in (
        ">Failures<",
        ">Pictures<",
        ">Search by meaning<",
        ">Throughput<",
        ">Stages<",
        ">Batch size<",
        ">Model cache<",
        ">Quote<",
        ">cost<",
    ):
        assert absent not in html


def test_the_chosen_batch_size_and_worker_count_are_marked() -> None:
    html = write_report(FULL)
    assert html.count('class="chosen"') == 2
    assert "needs 31.0 GB, 24.0 GB free" in html


def test_the_model_cache_is_shown_by_host_and_source() -> None:
    html = write_report(FULL)
    for text in (
        "652 MB on 2 hosts in 11 s: 300 MB from the origin, 100 MB from peers, same zone",
        "1.00 origin copies",
        "zone a; 41.4% not from the origin; 140 MB sent to others; faults: 2 corrupt",
        "140 MB · 9 s, 15.6 MB/s",
        "It does not tell whether links could have been faster, or others been used.",
        'class="other_zone" title="peers, other zone: 140 MB" style="width: 27.34%"',
    ):
        assert text in html
    summary = markdown_summary(FULL)
    assert "## Model cache" in summary
    assert "| beta | " in summary
    assert SCRIPT not in summary
    assert "Model cache" not in markdown_summary(BARE)


def test_of_many_hosts_the_slowest_are_shown() -> None:
    hosts = tuple(HostTraffic(f"host-{number:03}", disk_bytes=MB, bring_s=float(number)) for number in range(300))
    many = replace(BARE, traffic=TrafficReport(hosts))
    html = write_report(many)
    assert html.count("host-") == 40
    assert "host-299" in html
    assert "and 260 more, which waited less" in html
    rows = [line for line in markdown_summary(many).splitlines() if line.startswith(("| host", "| all hosts"))]
    assert len(rows) == 21  # with the names of the columns
    assert rows[-1].startswith("| all hosts")


def test_facts_survive_json_and_give_the_same_page() -> None:
    again = ReportFacts.from_json(FULL.to_json())
    assert again == FULL
    assert write_report(again) == write_report(FULL)
    assert ReportFacts.from_json(BARE.to_json()) == BARE


def test_the_quote_tells_time_and_money_by_worker_count() -> None:
    html = write_report(FULL)
    for text in ("1 worker<", "2 h · 4.00 USD", "2 workers ", "1 h · 4.10 USD", FULL.quote):
        assert text in html
    assert "Quoted before scale-out: 1,207 images" in markdown_summary(FULL)
    assert "Quoted" not in markdown_summary(BARE)
    free = write_report(replace(FULL, offers=(QuotedOffer(1, 7200.0),)))
    assert "what the workers cost" not in free


def test_facts_from_before_there_were_quotes_still_make_a_page() -> None:
    values = json.loads(BARE.to_json())
    del values["offers"], values["quote"], values["traffic"]
    assert ReportFacts.from_json(json.dumps(values).encode()) == BARE


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format": 2}', BARE.to_json().replace(b'"workers"', b'"wrkrs"')]
)
def test_facts_of_something_else_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidCollection, match="cannot be read"):
        ReportFacts.from_json(data)


def test_the_summary_tells_the_numbers_and_the_first_failures() -> None:
    summary = markdown_summary(FULL)
    assert "# Completed, with failures: 1,207 images made" in summary
    assert "| Cost | 0.0042 USD |" in summary
    assert "| generate | 34 s | failed |" in summary
    assert "## 120 failed" in summary
    assert "Cost" not in markdown_summary(BARE)


@given(st.text(max_size=60))
def test_no_prompt_breaks_the_summarys_tables(prompt: str) -> None:
    summary = markdown_summary(replace(FULL, failures=(FailedImage(prompt, "render", prompt),)))
    (row,) = [line for line in summary.split("\n") if "| render |" in line]
    assert row.count("|") == 4
    assert "<" not in row

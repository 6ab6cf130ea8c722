"""A person's way through Prefect's pages, in a real browser: form, run, artifacts, report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from pressrun import layout
from tests.served import PATIENCE_S, Served

pytestmark = pytest.mark.slow

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PROMPTS = ("a red circle", "a blue star", "a green star", "a yellow heart")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on the PATH; `make browser` installs it on Debian and Ubuntu")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        yield page
        browser.close()


def field(page: Page, title: str) -> Locator:
    """Return the part of the form for one parameter."""
    return page.locator(".schema-form-property", has=page.get_by_text(title, exact=True)).last


def fill_form(page: Page, output: Path) -> None:
    page.get_by_text("Texts", exact=True).click()
    for prompt in _PROMPTS:
        page.get_by_role("button", name="Add item").first.click()  # the prompts stand first
        field(page, "Prompts").locator("textarea").last.fill(prompt)
    field(page, "Output").locator("textarea").fill(str(output))
    field(page, "Engine (Optional)").locator("textarea").fill("null")
    field(page, "Search model (Optional)").locator("textarea").fill("none")
    field(page, "Batch Size (Optional)").locator("input").fill("2")


def test_a_run_started_from_the_form_completes_and_its_artifacts_open(
    served: Served, page: Page, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    page.goto(f"{served.url}/deployments")
    page.get_by_role("link", name="this-machine", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    expect(field(page, "Model").locator("textarea")).to_have_value("models/shapes")
    fill_form(page, output)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("button", name="View run").first).to_be_visible()  # it leaves before it can be clicked
    (run,) = [run for run in served.post("/flow_runs/filter", {}) if run["parameters"]["job"]["output"] == str(output)]
    page.goto(f"{served.url}/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=PATIENCE_S * 1000)
    open_artifacts(page)
    for key in ("progress", "report", "stages", "contact-sheet", "report-page"):
        expect(page.get_by_text(key, exact=True).last).to_be_visible()
    expect(page.get_by_text("4 of 4 images, 0 failed")).to_be_visible()
    open_contact_sheet(page)
    page.go_back()
    open_artifacts(page)
    open_report(page, output)


def open_artifacts(page: Page) -> None:
    page.get_by_text("Artifacts", exact=True).click()


def open_contact_sheet(page: Page) -> None:
    page.get_by_text("contact-sheet", exact=True).last.click()
    picture = page.get_by_alt_text("Contact sheet")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 300


def open_report(page: Page, output: Path) -> None:
    page.get_by_text("report-page", exact=True).last.click()
    link = page.get_by_role("link", name="The whole report, with pictures")
    address = link.get_attribute("href")
    assert address is not None
    assert address.endswith(f"{output}/{layout.REPORT}")
    answer = page.goto(address)
    assert answer is not None
    assert answer.ok
    expect(page.get_by_text(_PROMPTS[0]).first).to_be_visible()

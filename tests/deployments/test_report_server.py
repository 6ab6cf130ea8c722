from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deployments.report_server import serving_reports
from pressrun import layout


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving_reports(0) as address:
        yield address


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    folder = tmp_path / "ein Ordner"
    folder.mkdir()
    for name in (layout.COLLECTION, layout.REPORT, layout.CONTACT_SHEET, "notes.txt"):
        (folder / name).write_text(f"this is {name}")
    return folder


def get(url: str, file: Path, host: str | None = None) -> httpx.Response:
    return httpx.get(f"{url}{file}", headers={"Host": host} if host else {}, trust_env=False)


@pytest.mark.parametrize(
    ("name", "kind"), [(layout.REPORT, "text/html; charset=utf-8"), (layout.CONTACT_SHEET, "image/png")]
)
def test_what_people_look_at_is_served(url: str, collection: Path, name: str, kind: str) -> None:
    answer = get(url, collection / name)
    assert (answer.status_code, answer.text) == (200, f"this is {name}")
    assert answer.headers["Content-Type"] == kind


@pytest.mark.parametrize("name", ["notes.txt", layout.COLLECTION, "", "../ein Ordner/notes.txt", "missing/report.html"])
def test_nothing_else_of_a_collection_is_served(url: str, collection: Path, name: str) -> None:
    assert get(url, collection / name).status_code == 404


def test_a_report_that_is_in_no_collection_is_not_served(url: str, collection: Path) -> None:
    (collection / layout.COLLECTION).unlink()
    assert get(url, collection / layout.REPORT).status_code == 404


def test_a_link_out_of_a_collection_is_not_followed(url: str, collection: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (collection / layout.REPORT).unlink()
    (collection / layout.REPORT).symlink_to(secret)
    assert get(url, collection / layout.REPORT).status_code == 404


def test_a_page_elsewhere_that_calls_itself_this_machine_gets_nothing(url: str, collection: Path) -> None:
    assert get(url, collection / layout.REPORT, host="evil.example").status_code == 404
    assert get(url, collection / layout.REPORT, host="localhost:4201").status_code == 200

"""Refusals: exit code 2, one explanation, nothing done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests import runs


def everything_below(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in folder.rglob("*")}


def bad_rows(folder: Path, count: int) -> Path:
    file = folder / "bad.csv"
    rows = [f"picture {number},{0 if number % 2 else 5}" for number in range(2 * count)]
    file.write_text("\n".join(["prompt,steps", *rows]) + "\n")
    return file


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_every_bad_row_is_told_at_once_and_before_a_server_starts(command: str, tmp_path: Path) -> None:
    file = bad_rows(tmp_path, 70)
    before = everything_below(tmp_path)
    home = tmp_path / "home"
    started = time.monotonic()
    done = runs.run(None, command, file, *runs.quick_options(tmp_path / "out"), env={"PREFECT_HOME": str(home)})
    took_s = time.monotonic() - started
    assert (done.returncode, done.stdout) == (2, "")
    told = [line.split(",")[0].strip() for line in done.stderr.splitlines() if "steps=" in line]
    assert told == [f"row {number}" for number in range(2, 141, 2)]
    assert "70 problems found" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(home.rglob("*.db"))  # a server makes its database first of all
    assert set(everything_below(tmp_path)) - {home, *home.rglob("*")} == set(before)
    assert took_s < 20  # of which all but a second is for Python to read Prefect, on a machine with other work


@pytest.mark.parametrize(
    ("arguments", "explanation"),
    [
        (["generate", "none.csv", "--model", runs.MODEL, "--output", "out"], "none.csv"),
        (["generate", "prompts.txt", "--model", "nowhere", "--output", "out"], "nowhere"),
        (["generate", "prompts.txt", "--model", runs.MODEL, "--output", "full"], "not a collection"),
        (["generate", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--steps", "0"], "--steps 0:"),
        (
            ["generate", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--dask", "nonsense"],
            "--dask 'nonsense':",
        ),
        (["plan", "prompts.txt", "--model", "", "--output", "out"], "--model '':"),
        (["plan", "prompts.txt", "-m", runs.MODEL, "-m", "models/ink", "-o", "out"], "2 locations without a name"),
        (["plan", "prompts.txt", "-m", runs.MODEL, "-m", "a b=models/ink", "-o", "out"], "'a b' is no name"),
        (["plan", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--engine", "nope"], "no engine 'nope'"),
        (["generate", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--deadline", "soon"], "as 90m"),
        (["generate", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--budget", "9"], "--price"),
        (["plan", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--adapter", "ink"], "NAME=FILE"),
        (["plan", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--adapter", "ink=no.safetensors"], "'ink'"),
        (["plan", "prompts.txt", "-m", "s3://b/sdxl", "-o", "out", "--cache", "mount"], "below none of the mounts"),
        (["plan", "prompts.txt", "-m", "s3://b/sdxl", "-o", "out", "--mount", "s3://b"], "URL=FOLDER"),
        (
            ["plan", "prompts.txt", "-m", "s3://b/sdxl", "-o", "out", "--cache-budget", "much"],
            "--cache-budget 'much': 'much' is no",
        ),
        (["plan", "prompts.txt", "-m", "s3://b/sdxl", "-o", "out", "--cache-exclusive"], "give the tenant"),
        (["release", "s3://b/sdxl", "--golden", "set", "--cache-exclusive"], "--cache-exclusive True"),
        (["generate", "prompts.txt", "--model", runs.MODEL], "--output"),
        (["plan", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--nonsense", "3"], "--nonsense"),
        (["plan", "prompts.txt", "--model", runs.MODEL, "--output", "out", "--width", "abc"], "--width"),
        (["search", "nowhere", "a star"], "no collection"),
        (["search", "full"], "either words or --image"),
        (["verify", "nowhere"], "no collection"),
        (["report", "nowhere"], "no collection"),
        (["nonsense"], "nonsense"),
    ],
    ids=lambda value: " ".join(map(str, value[:2])) if isinstance(value, list) else "",
)
def test_a_mistake_is_refused_with_its_reason_and_leaves_everything_as_it_was(
    arguments: list[Any], explanation: str, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a red star\n")
    Path("full").mkdir()
    Path("full", "letter.txt").write_text("not a picture")
    before = everything_below(tmp_path)
    code, out, err = said(*arguments)
    assert (code, out) == (2, "")
    assert explanation in err
    assert everything_below(tmp_path) == before

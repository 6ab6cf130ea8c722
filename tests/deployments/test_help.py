"""What the command line says of itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib import metadata

import pytest

from deployments import cache_command, cli
from deployments.cache_choice import CacheChoice
from deployments.cache_place import CachePlace
from deployments.export_command import ExportChoice, export
from deployments.generate_command import GenerateOptions, generate
from deployments.model_command import publish
from deployments.plan_command import plan
from deployments.release_command import ReleaseOptions, release
from deployments.replay_command import ReplayOptions, replay
from deployments.report_command import report
from deployments.search_command import search
from deployments.verify_command import verify
from pressrun.engine_options import EngineOptions, QualityBudget


def plain(text: str) -> str:
    """Return a text's words alone: help wraps them, draws boxes around them and sets some in colour."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def descriptions(documented: object) -> dict[str, str]:
    """Return what a docstring says of each parameter."""
    section = (inspect.getdoc(documented) or "").partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    found = re.findall(r"^(\w+) : .*\n((?:    .+\n?)+)", section + "\n", re.MULTILINE)
    return {name: text for name, text in found if name not in _GROUPS}


_GROUPS = ("options", "caching", "tuning", "quality")  # shown as the options that they hold
_GENERATE = (
    descriptions(GenerateOptions)
    | descriptions(CacheChoice)
    | descriptions(EngineOptions)
    | descriptions(QualityBudget)
)


OPTIONS = {
    generate: _GENERATE,
    plan: _GENERATE,
    export: descriptions(ExportChoice),
    replay: descriptions(ReplayOptions),
    release: descriptions(ReleaseOptions),
}


NAMES = {publish: ["model", "publish"]}


@pytest.mark.parametrize(
    "command",
    [generate, plan, search, verify, replay, report, export, publish, release],
    ids=lambda command: command.__name__,
)
def test_help_describes_every_option(command: Callable[..., object], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*NAMES.get(command, [command.__name__]), "--help"]) == 0
    out = capsys.readouterr().out
    wanted = descriptions(command) | OPTIONS.get(command, {})
    assert len(wanted) >= 2
    for name, text in wanted.items():
        assert plain(text) in plain(out), f"{name} is not described"


@pytest.mark.parametrize("name", ["status", "preload", "drop", "drain"])
def test_help_of_the_cache_describes_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["cache", name, "--help"]) == 0
    out = capsys.readouterr().out
    wanted = {**descriptions(getattr(cache_command, name)), **descriptions(CachePlace)}
    del wanted["place"]  # it is these options
    assert len(wanted) >= 2
    for option, text in wanted.items():
        assert plain(text) in plain(out), f"{option} is not described"


def test_the_first_page_names_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    out = capsys.readouterr().out
    for word in (
        "generate",
        "plan",
        "search",
        "verify",
        "replay",
        "report",
        "export",
        "cache",
        "model",
        "release",
        "2 refused",
        "3 partial",
        "4 flaws",
        "130 interrupted",
    ):
        assert plain(word) in plain(out)


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == metadata.version("pressrun")

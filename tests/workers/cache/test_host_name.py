"""Hosts' names: one for all processes of a machine or container with a folder, and another for every other one."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.cache import host_name as naming
from workers.cache.host_name import host_name


def test_machines_that_see_one_folder_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = host_name("10.0.0.5", tmp_path)
    assert here == host_name("10.0.0.5", tmp_path)
    monkeypatch.setattr(naming, "place_digest", lambda: "another machine or container")
    assert host_name("10.0.0.5", tmp_path) != here


def test_containers_with_different_folders_at_one_path_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    here = host_name("10.0.0.5", tmp_path / "cache")
    (tmp_path / "cache").rename(tmp_path / "mounted elsewhere")
    (tmp_path / "cache").mkdir()
    assert host_name("10.0.0.5", tmp_path / "cache") != here

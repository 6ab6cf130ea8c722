"""Notes in a cache folder, on real files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from workers.cache.folder_notes import note_budget, noted_budget


def test_a_note_that_a_full_disk_does_not_take_leaves_the_one_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    note_budget(tmp_path, 1000)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        note_budget(tmp_path, 2000)
    assert noted_budget(tmp_path) == 1000
    assert [path.name for path in tmp_path.iterdir()] == ["budget.json"]

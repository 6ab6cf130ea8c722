"""Tiny models, each made once, and torch on one thread where a test asks for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.workers.tiny_models import Folders, save_tiny


@pytest.fixture(scope="module")
def _one_thread() -> Iterator[None]:
    # Threads only get into each other's way on models this small.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("tiny")

    def get(kind: str) -> Path:
        return root / kind if (root / kind).exists() else save_tiny(kind, root / kind)

    return get

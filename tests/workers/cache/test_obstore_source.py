"""Stores that are kept open between models."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from pressrun.location import Location
from workers.cache import obstore_source
from workers.cache.obstore_source import open_obstore


class Store:
    """Stands for an open store with its credentials."""


def test_stores_of_keys_that_were_rotated_long_ago_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[weakref.ref[Store]] = []

    def opening(*_: Any) -> Store:
        store = Store()
        opened.append(weakref.ref(store))
        return store

    monkeypatch.setitem(obstore_source._OPENING, "s3", opening)
    monkeypatch.setattr(obstore_source, "_stores", {})
    plain: Any = SimpleNamespace(root="models/paint", filesystem=None, check_unchanged=None)
    for number in range(40):
        open_obstore(Location("s3://models/paint", {"key": f"key-{number}"}), plain)
        open_obstore(Location("s3://models/paint", {"key": "used all the time"}), plain)
    assert len(opened) == 41
    assert sum(store() is not None for store in opened) <= 16

"""What a store does when the network or the filesystem behind it fails."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pressrun import storage
from pressrun.location import Location
from pressrun.storage import Store


class Unsteady:
    """An operation that fails some times before it works."""

    def __init__(self, works: Callable[..., object], error: Exception, failures: int) -> None:
        self.works, self.error, self.failures, self.calls = works, error, failures, 0

    def __call__(self, *args: object, **options: object) -> object:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.works(*args, **options)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(storage, "time", SimpleNamespace(sleep=pauses.append))
    return pauses


@pytest.fixture
def remote() -> Store:
    store = Store(Location(f"memory://{uuid.uuid4().hex}"))
    store.write("in/name", b"x")
    return store


OPERATIONS: dict[str, tuple[str, Callable[[Store], object]]] = {
    "read": ("cat_file", lambda store: store.read("in/name")),
    "write": ("pipe_file", lambda store: store.write("in/name", b"y")),
    "create": ("pipe_file", lambda store: store.create("in/other", b"y")),
    "exists": ("exists", lambda store: store.exists("in/name")),
    "names": ("ls", lambda store: store.names("in")),
    "walk": ("find", lambda store: list(store.walk("in"))),
    "delete": ("rm_file", lambda store: store.delete(["in/name"])),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_passing_failures_are_tried_again_with_longer_pauses(
    operation: str, remote: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, call = OPERATIONS[operation]
    unsteady = Unsteady(getattr(remote.filesystem, method), ConnectionResetError("gone"), 3)
    monkeypatch.setattr(remote.filesystem, method, unsteady)
    call(remote)
    assert (unsteady.calls, pauses) == (4, [0.2, 0.4, 0.8])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_failures_that_do_not_pass_are_raised(
    operation: str, remote: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, call = OPERATIONS[operation]
    unsteady = Unsteady(getattr(remote.filesystem, method), TimeoutError("no answer"), 99)
    monkeypatch.setattr(remote.filesystem, method, unsteady)
    with pytest.raises(TimeoutError, match="no answer"):
        call(remote)
    assert unsteady.calls == 4


class EndpointConnectionError(Exception):
    """As botocore's: not an OSError."""


class NoCredentialsError(Exception):
    """As botocore's."""


def test_another_librarys_failures_are_retried_and_told_without_the_url(
    remote: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = EndpointConnectionError('Could not connect to: "https://user:secret@host/x?token=secret".')
    passing, lasting = (Unsteady(remote.filesystem.cat_file, error, failures) for failures in (3, 99))
    monkeypatch.setattr(remote.filesystem, "cat_file", passing)
    assert remote.read("in/name") == b"x"
    assert pauses == [0.2, 0.4, 0.8]
    monkeypatch.setattr(remote.filesystem, "cat_file", lasting)
    with pytest.raises(OSError, match=r"^EndpointConnectionError: Could not connect to") as failed:
        remote.read("in/name")
    assert lasting.calls == 4
    assert "secret" not in "".join(traceback.format_exception(failed.value, limit=0))


def test_missing_credentials_are_not_asked_for_twice(
    remote: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote.filesystem, "cat_file", Unsteady(remote.filesystem.cat_file, NoCredentialsError("x"), 9))
    with pytest.raises(OSError, match=r"^NoCredentialsError: x$"):
        remote.read("in/name")
    assert pauses == []


def test_mistakes_in_the_code_stay_what_they_are(
    remote: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote.filesystem, "cat_file", Unsteady(remote.filesystem.cat_file, TypeError("a typo"), 9))
    with pytest.raises(TypeError, match="a typo"):
        remote.read("in/name")
    assert pauses == []


@pytest.mark.parametrize("error", [PermissionError("forbidden"), IsADirectoryError("a folder")])
def test_definite_answers_are_not_asked_for_twice(
    error: OSError, remote: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    unsteady = Unsteady(remote.filesystem.cat_file, error, 1)
    monkeypatch.setattr(remote.filesystem, "cat_file", unsteady)
    with pytest.raises(type(error)):
        remote.read("in/name")
    assert (unsteady.calls, pauses) == (1, [])

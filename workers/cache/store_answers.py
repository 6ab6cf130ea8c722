"""What obstore's errors mean. Knows nothing of requests."""

from __future__ import annotations

import re

import obstore.exceptions as answers

from workers.cache.source import is_denial, is_lasting

# The only words of an error's text that are read; the rest may hold a signed URL.
_STATUS = re.compile(r"status code: ([1-5]\d\d)\b")
_FAULT = re.compile(r"kind: (Connect|Timeout|Interrupted|Request|Body|Decode)\b")
# No connection came about, or nothing at all came by it: the client tells these two apart only where one is refused.
_UNREACHED = re.compile(r"kind: Connect\b|kind: Timeout,\s+source: reqwest::Error \{\s+kind: Request\b")
# Credentials that could not be had just now, unlike those that there are none of, or that the store rejects.
_ASKING_FOR_CREDENTIALS = "credential provider"
_NO_CREDENTIALS = "PermissionError"
RANGE_NOT_THERE = 416
_DENIED = (answers.PermissionDeniedError, answers.UnauthenticatedError)
_LASTING = (
    FileNotFoundError,
    *_DENIED,
    answers.InvalidPathError,
    answers.NotSupportedError,
    answers.UnknownConfigurationKeyError,
)


def lasts(error: Exception) -> bool:
    """Return whether asking again cannot help."""
    if isinstance(error, answers.UnauthenticatedError) and _ASKING_FOR_CREDENTIALS in str(error):
        return _NO_CREDENTIALS in str(error)
    status = status_of(error)
    return isinstance(error, _LASTING) or (status is not None and is_lasting(status))


def denies(error: Exception) -> bool:
    """Return whether an error that lasts is about who asks, so that another host may fare better."""
    status = status_of(error)
    return isinstance(error, _DENIED) or (status is not None and is_denial(status))


def is_unreached(error: Exception) -> bool:
    """Return whether nothing answered."""
    return isinstance(error, answers.BaseError) and _UNREACHED.search(str(error)) is not None


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that an error tells of, if any."""
    found = _STATUS.search(str(error)) if isinstance(error, answers.BaseError) else None
    return int(found[1]) if found else None


def kind_of(error: Exception) -> str:
    """Return an error's class name, with the HTTP status or the fault that it tells of."""
    name, status = type(error).__name__, status_of(error)
    if status is not None:
        return f"{name}, HTTP status {status}"
    fault = _FAULT.search(str(error)) if isinstance(error, answers.BaseError) else None
    return f"{name}, {fault[1].lower()}" if fault else name


__all__ = ["RANGE_NOT_THERE", "denies", "is_unreached", "kind_of", "lasts", "status_of"]

"""What reads a file's bytes from an origin once, and how it says what went wrong.

Knows nothing of trying again, nor of any store.
"""

from __future__ import annotations

from typing import Protocol


class ByteSource(Protocol):
    """Files below one location, read in ranges; safe to use from many threads at once."""

    def read_once(self, path: str, start: int, digest: str, into: memoryview) -> None:
        """Fill `into` with a file's bytes.

        Parameters
        ----------
        path : str
            POSIX path relative to the location.
        start : int
            First byte in the file.
        digest : str
            The listing's name for the file's contents; "" leaves unchecked whether it is still that file.
        into : memoryview
            Writable bytes, at least 1; undefined after an error.

        Raises
        ------
        SourceRefused, SourceDenied, SourceChanged
            Where asking again cannot help.
        SourceUnreached
            Where nothing answers, as far as that can be told.
        Exception
            Any other, where it may.
        """


class SourceRefused(Exception):
    """The origin will give the same answer again; the text names the kind of answer and holds no secret."""


class SourceDenied(SourceRefused):
    """So it will for what this host asks with: its credentials, or none, which other hosts may have."""


class SourceUnreached(Exception):
    """Nothing answers this host; the text names the kind of failure and holds no secret."""


class SourceChanged(Exception):
    """The file is another one than was listed."""


class WrongLength(Exception):
    """The origin sent fewer or more bytes than were asked for.

    Parameters
    ----------
    sent_bytes : int
        How many came.
    wanted_bytes : int
        How many were asked for.
    """

    def __init__(self, sent_bytes: int, wanted_bytes: int) -> None:
        super().__init__(f"{sent_bytes} bytes came, {wanted_bytes} were asked for")


# Client errors that pass: request timeout, too early, too many requests.
_PASSING = (408, 425, 429)
# What depends on who asks. S3 says 400 of tokens that have expired or are not known to it.
_DENYING = (400, 401, 403, 407)


def is_lasting(status: int) -> bool:
    """Return whether an HTTP status is an answer that asking again does not change."""
    return 400 <= status < 500 and status not in _PASSING


def is_denial(status: int) -> bool:
    """Return whether an HTTP status is an answer to who asks, which another host may not be given."""
    return status in _DENYING


def fill(into: memoryview, data: bytes | memoryview) -> None:
    """Copy what came to its place; WrongLength when it is not just as much as is wanted."""
    if len(data) != len(into):
        raise WrongLength(len(data), len(into))
    into[:] = data


__all__ = [
    "ByteSource",
    "SourceChanged",
    "SourceDenied",
    "SourceRefused",
    "SourceUnreached",
    "WrongLength",
    "fill",
    "is_denial",
    "is_lasting",
]

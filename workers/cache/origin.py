"""Chunks of a model's files read from where the model lies, however the origin behaves.

Knows nothing of chunks' hashes, of peers, nor of where the bytes go. Every request is made here and only here again:
the stores' own retries are off, so that one rule spaces them all and a lease's holder knows how long a read can take.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pressrun.errors import PressrunError
from pressrun.location import Location
from pressrun.models.listing import list_model
from workers.cache.fsspec_source import FsspecSource
from workers.cache.obstore_source import open_obstore
from workers.cache.source import ByteSource, SourceChanged, SourceDenied, SourceRefused, SourceUnreached, WrongLength
from workers.cache.store_answers import kind_of

logger = logging.getLogger(__name__)

OriginFault = Literal["origin", "unreached", "denied", "gone"]


class OriginFailed(PressrunError):
    """The origin does not give the bytes.

    Parameters
    ----------
    reason : str
        What a person should read; holds no secret.
    fault : str
        What the registry calls it: "origin" and "unreached" may pass; "denied" lasts for this host, and others may be
        let in; of what is "gone", missing or changed, every host would be told the same.
    """

    def __init__(self, reason: str, fault: OriginFault = "origin") -> None:
        super().__init__(reason)
        self.reason, self.fault = reason, fault

    def __reduce__(self) -> tuple[type[OriginFailed], tuple[str, OriginFault]]:
        """Let the error cross process boundaries whole."""
        return type(self), (self.reason, self.fault)

    @property
    def lasting(self) -> bool:
        """Whether it is in vain that this host asks again."""
        return self.fault in ("denied", "gone")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and after what waits a read is tried again.

    The waits grow threefold with half of it by chance: some 22 s in all, of which the first tenth of a second is all
    that one failed request costs. A store that answers 503 to every fifth request fails one read in 80,000.

    Parameters
    ----------
    attempts : int
        Requests for one read at most.
    first_wait_s : float
        Wait before the second.
    growth : float
        How many times as long each wait is as the one before.
    longest_wait_s : float
        Bound of a wait, without what chance adds.
    sleep : callable
        Waits the given seconds.
    """

    attempts: int = 7
    first_wait_s: float = 0.1
    growth: float = 3.0
    longest_wait_s: float = 10.0
    sleep: Callable[[float], object] = time.sleep

    def wait_s(self, attempt: int) -> float:
        """Return the wait after an attempt, counted from 1."""
        wait_s = min(self.longest_wait_s, self.first_wait_s * self.growth ** (attempt - 1))
        return wait_s * random.uniform(0.5, 1.5)


class Origin:
    """The files of one model where they lie; safe to use from many threads at once.

    Parameters
    ----------
    location : Location
        The model's folder.
    source : ByteSource
        Reads it.
    patience : Patience
        How often it is asked.
    """

    def __init__(self, location: Location, source: ByteSource, patience: Patience) -> None:
        self._location, self._source, self._patience = location, source, patience
        self._has_answered = False

    def read(self, path: str, start: int, digest: str, into: memoryview) -> None:
        """Fill `into` with a file's bytes, in the caller's thread.

        Parameters
        ----------
        path : str
            POSIX path relative to the model's folder.
        start : int
            First byte in the file.
        digest : str
            The listing's name for the file's contents; a file that is another one by now is refused.
        into : memoryview
            Writable bytes, filled whole or undefined after an error.

        Raises
        ------
        OriginFailed
            At once where the file is missing, forbidden or changed, or the origin never answered this host, which
            another one may reach; else after the last attempt.
        """
        if not len(into):
            return
        for attempt in range(1, self._patience.attempts + 1):
            try:
                self._source.read_once(path, start, digest, into)
                self._has_answered = True
                return
            except SourceChanged:
                raise self._changed(path) from None
            except Exception as error:
                if self._is_over(error) or attempt == self._patience.attempts:
                    raise self._failed(path, error, attempt) from None
                self._wait(path, error, attempt)

    def _is_over(self, error: Exception) -> bool:
        return isinstance(error, SourceRefused) or (isinstance(error, SourceUnreached) and not self._has_answered)

    def _wait(self, path: str, error: Exception, attempt: int) -> None:
        wait_s = self._patience.wait_s(attempt)
        logger.info(
            "Reading %s of %s: %s; again in %.1f s (%d of %d).",
            *(path, self._location, _told(error), wait_s, attempt, self._patience.attempts),
        )
        self._patience.sleep(wait_s)

    def _changed(self, path: str) -> OriginFailed:
        return OriginFailed(
            f"The file {path} of the model {self._location} changed after the run was planned; start the run again, "
            "and write a new model to a new place.",
            "gone",
        )

    def _failed(self, path: str, error: Exception, attempt: int) -> OriginFailed:
        return OriginFailed(
            f"Cannot read {path} of the model {self._location}: {_told(error)}, at attempt {attempt} of "
            f"{self._patience.attempts}; check that it is there, the network and your rights.",
            _fault_of(error),
        )


def open_origin(location: Location, single_file: bool = False, patience: Patience | None = None) -> Origin:
    """Open a model's location for reading.

    Parameters
    ----------
    location : Location
        Folder or bucket prefix on any fsspec URL. S3, Google and Azure buckets and plain web servers are read by
        obstore where it can be given everything that the options say, everything else by fsspec.
    single_file : bool
        Whether the location may also be a file itself, read by its name.
    patience : Patience, optional
        How often requests are tried again.

    Raises
    ------
    InvalidModel
        If a location that may be a file cannot be listed.
    OriginFailed
        If the filesystem cannot be opened with these options.
    """
    if single_file:
        location = list_model(location, single_file=True).location
    try:
        plain = FsspecSource(location)
        source = open_obstore(location, plain) or plain
    except Exception as error:
        raise OriginFailed(
            f"The model {location} cannot be opened ({type(error).__name__}); check the URL, the credentials in its "
            "options, and that the filesystem's package is installed.",
            "denied",
        ) from None
    return Origin(location, source, patience or Patience())


def _fault_of(error: Exception) -> OriginFault:
    if isinstance(error, SourceDenied):
        return "denied"
    if isinstance(error, SourceUnreached):
        return "unreached"
    return "gone" if isinstance(error, SourceRefused) else "origin"


def _told(error: Exception) -> str:
    # Only kinds and numbers: other texts may hold credentials or a signed URL.
    return str(error) if isinstance(error, SourceRefused | SourceUnreached | WrongLength) else kind_of(error)


__all__ = ["Origin", "OriginFailed", "Patience", "open_origin"]

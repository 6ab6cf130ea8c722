"""What a run's report tells, as plain values that can be stored and shown again.

Knows nothing of how the facts were gathered, nor of how they are shown. It holds no secret: settings come here as
they may be shown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pressrun.cache.traffic_report import TrafficReport, of_record
from pressrun.errors import InvalidCollection

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long one stage took.

    Parameters
    ----------
    name : str
        As a person reads it: "generate".
    seconds : float
        0 or more.
    state : str
        "completed", "failed", "cancelled" or "skipped".
    note : str
        What it did, in a few words; may be empty.
    """

    name: str
    seconds: float
    state: str = "completed"
    note: str = ""


@dataclass(frozen=True, slots=True)
class ThroughputPoint:
    """The speed at one moment.

    Parameters
    ----------
    at_s : float
        Seconds since generating began.
    images_per_s : float
        Images a second around then.
    workers : int
        Workers at work then.
    """

    at_s: float
    images_per_s: float
    workers: int = 1


@dataclass(frozen=True, slots=True)
class BatchSpeed:
    """What one batch size was measured to give.

    Parameters
    ----------
    size : int
        Pictures at once.
    images_per_s : float or None
        Of one worker; None where the size did not fit.
    note : str
        Why it did not fit, or anything else worth a word.
    """

    size: int
    images_per_s: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class QuotedOffer:
    """What one worker count was quoted to take.

    Parameters
    ----------
    workers : int
        The count.
    wall_s : float
        Seconds from scale-out to the last picture.
    cost : float or None
        Money for the workers; None when no price is known.
    chosen : bool
        Whether the run went by this one.
    """

    workers: int
    wall_s: float
    cost: float | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class FailedImage:
    """A picture that was not made.

    Parameters
    ----------
    prompt : str
        What was asked for.
    stage : str
        Where it failed.
    error : str
        What was raised.
    attempts : int
        How often it was tried by itself.
    """

    prompt: str
    stage: str
    error: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to show.

    Parameters
    ----------
    image_id : str
        Its id.
    prompt : str
        What was asked for.
    png : bytes
        PNG, JPEG or WebP; `pressrun.report.thumbnail.thumbnail` keeps it small.
    score : float or None
        Nearness to a query, where it answers one.
    """

    image_id: str
    prompt: str
    png: bytes = field(repr=False)
    score: float | None = None


@dataclass(frozen=True, slots=True)
class SearchExample:
    """A query and the pictures it finds, best first."""

    query: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Everything that a run's report shows.

    Parameters
    ----------
    run_id : str
        The run.
    collection : str
        Where the pictures are, without credentials.
    outcome : str
        "completed", "partial" (some pictures failed), "failed" or "cancelled".
    started_at, finished_at : str
        ISO 8601, UTC.
    images_asked : int
        Pictures that the prompt file asks for, without duplicates.
    images_made : int
        Rendered by this run.
    images_reused : int
        There before it.
    images_failed : int
        Not made; of these `failures` shows the first ones.
    wall_s : float
        Seconds from start to finish.
    images_per_s : float
        Over the generate stage, all workers together.
    workers : int
        Most workers at once.
    model_name : str
        The model.
    model_revision : str
        Digest of its files.
    cost : float or None
        What the workers cost; None when no price is known.
    currency : str
        Of `cost`.
    message : str
        Why the run did not complete; empty when it did.
    chosen_batch_size : int or None
        Pictures at once in this run; None when nothing had to be rendered.
    stages : tuple of StageTime
        In order.
    throughput : tuple of ThroughputPoint
        In time order; any number, thinned out for showing.
    batch_speeds : tuple of BatchSpeed
        Ascending by size.
    offers : tuple of QuotedOffer
        The quote before scale-out, ascending by workers; empty when no speed was known.
    quote : str
        The quote in one line.
    failures : tuple of FailedImage
        A hundred at most.
    samples : tuple of Picture
        A few dozen at most.
    searches : tuple of SearchExample
        Two or three.
    versions : mapping of str to str
        Software by name.
    settings : mapping of str to str
        The job's settings as they may be shown.
    trials : mapping of str to str
        Engine options and what each did to a sample.
    traffic : TrafficReport or None
        How the models' files came to the hosts; None where nothing had to be brought.
    """

    run_id: str
    collection: str
    outcome: str
    started_at: str
    finished_at: str
    images_asked: int
    images_made: int
    images_reused: int
    images_failed: int
    wall_s: float
    images_per_s: float
    workers: int
    model_name: str
    model_revision: str
    cost: float | None = None
    currency: str = "USD"
    message: str = ""
    chosen_batch_size: int | None = None
    stages: tuple[StageTime, ...] = ()
    throughput: tuple[ThroughputPoint, ...] = ()
    batch_speeds: tuple[BatchSpeed, ...] = ()
    offers: tuple[QuotedOffer, ...] = ()
    quote: str = ""
    failures: tuple[FailedImage, ...] = ()
    samples: tuple[Picture, ...] = ()
    searches: tuple[SearchExample, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    trials: Mapping[str, str] = field(default_factory=dict)
    traffic: TrafficReport | None = None

    def to_json(self) -> bytes:
        """Return the facts as JSON, pictures in base64."""
        return json.dumps(asdict(self) | {"format": _FORMAT}, default=_encoded).encode()

    @classmethod
    def from_json(cls, data: bytes) -> ReportFacts:
        """Return the facts that `to_json` wrote.

        Raises
        ------
        InvalidCollection
            When they were written by another version, or by something else.
        """
        try:
            values = json.loads(data)
            if values.pop("format") != _FORMAT:
                raise ValueError("another format")
            records = {name: tuple(map(_RECORDS[name], values[name])) for name in _RECORDS.keys() & values.keys()}
            traffic = of_record(values["traffic"]) if values.get("traffic") else None
            return cls(**values | records | {"traffic": traffic})
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidCollection(
                f"Report facts ({len(data)} bytes) cannot be read: {error}; rerun the job to have them written anew."
            ) from error


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _picture(values: dict[str, Any]) -> Picture:
    return Picture(**values | {"png": base64.b64decode(values["png"])})


def _search(values: dict[str, Any]) -> SearchExample:
    return SearchExample(values["query"], tuple(map(_picture, values["pictures"])))


_RECORDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "stages": lambda values: StageTime(**values),
    "throughput": lambda values: ThroughputPoint(**values),
    "batch_speeds": lambda values: BatchSpeed(**values),
    "offers": lambda values: QuotedOffer(**values),
    "failures": lambda values: FailedImage(**values),
    "samples": _picture,
    "searches": _search,
}

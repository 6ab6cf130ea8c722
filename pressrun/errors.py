"""The failures a caller of Pressrun handles differently, one class each.

Knows nothing of where they are raised. Every message says what failed, both numbers, which item, and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PressrunError(Exception):
    """Any failure that Pressrun explains in full; shown to users without a traceback."""


class InvalidJob(PressrunError):
    """The job's own settings contradict each other or the model."""


class InvalidModel(PressrunError):
    """The model folder cannot be used: missing component, pickle weights, unreachable hub id."""


class CacheFull(PressrunError):
    """The host's cache, or the disk under it, has no room for a model."""


class CacheInUse(PressrunError):
    """A model in the host's cache cannot be dropped while somebody uses or fills it."""


class InvalidCollection(PressrunError):
    """The output location holds something that this job cannot continue."""


class CollectionBusy(PressrunError):
    """Another run is writing the collection right now."""


class InvalidQuery(PressrunError):
    """A search cannot be answered as it was asked."""


class QualityRefused(PressrunError):
    """Engine options change the pictures more than the job allows."""


class InvalidExport(PressrunError):
    """An export cannot be begun as it was asked, or its destination holds something else."""


class ExportFailed(PressrunError):
    """An export stopped before its end; the files that are finished stay, and the same command goes on from there."""


class ReleaseRefused(PressrunError):
    """A new revision of a model draws the golden pictures otherwise than allowed."""


class RunCancelled(PressrunError):
    """The run was cancelled from outside while it was generating."""


class QuoteRefused(PressrunError):
    """The job cannot be done by its deadline or within its budget; nothing was generated."""


class StageFailed(PressrunError):
    """A stage could not do its work and says why."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing wrong with one row of the prompt file.

    Parameters
    ----------
    row : int
        Row number as a person counts it in the file: the first data row is 1; 0 speaks of the file as a whole.
    column : str
        Column the value stands in, or "" for the whole row.
    value : str
        The offending value, shortened for display.
    remedy : str
        What is wrong and what to do about it.
    """

    row: int
    column: str
    value: str
    remedy: str

    def __str__(self) -> str:
        """Return the problem as one line."""
        place = f"row {self.row}" if self.row else "file"
        what = f", {self.column}={self.value!r}" if self.column else (f", {self.value!r}" if self.value else "")
        return f"{place}{what}: {self.remedy}"


class InvalidPrompts(PressrunError):
    """The prompt file has bad rows; all of them are listed in `problems`.

    Parameters
    ----------
    source : str
        Name of the file or list, without credentials.
    problems : sequence of RowProblem
        Every problem found, in row order; never empty.
    """

    def __init__(self, source: str, problems: Sequence[RowProblem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        """Return the headline and every problem, one a line."""
        count = len(self.problems)
        head = f"{self.source}: {count} problem{'s' if count != 1 else ''} found; nothing was started."
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])

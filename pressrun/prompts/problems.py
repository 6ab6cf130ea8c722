"""The problems found in a prompt file, gathered while it is read.

Knows nothing of file formats or of what makes a value wrong.
"""

from __future__ import annotations

import reprlib

from pressrun.errors import InvalidPrompts, RowProblem

MAX_PROBLEMS = 10_000
SHOWN_CHARACTERS = 60


def shortened(value: object) -> str:
    """Return `value` as text of at most 61 characters that any encoding and terminal can show."""
    text = value if isinstance(value, str) else reprlib.repr(value)  # bounded, however deep or long it is
    if len(text) > SHOWN_CHARACTERS:
        text = text[:SHOWN_CHARACTERS] + "…"
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate would break whoever prints it


class ProblemList:
    """Problems in the order in which they were found; full after `MAX_PROBLEMS`."""

    def __init__(self) -> None:
        self._problems: list[RowProblem] = []
        self._about_file: set[RowProblem] = set()

    def __len__(self) -> int:
        """Return the number of problems found so far."""
        return len(self._problems)

    @property
    def full(self) -> bool:
        """Whether so many were found that reading on helps nobody."""
        return len(self._problems) >= MAX_PROBLEMS

    def add(self, row: int, column: str, value: object, remedy: str) -> None:
        """Note one problem; one about the whole file is noted once, and none once the list is full.

        Parameters
        ----------
        row : int
            Row number from 1; 0 for the file as a whole.
        column : str
            Column name as the file spells it, or "".
        value : object
            The offending value, of any length.
        remedy : str
            What is wrong and what to do.
        """
        problem = RowProblem(row, shortened(column), shortened(value), remedy)
        if self.full or problem in self._about_file:
            return
        if row == 0:
            self._about_file.add(problem)
        self._problems.append(problem)

    def raise_if_any(self, source: str) -> None:
        """Raise everything found, in row order.

        Parameters
        ----------
        source : str
            Name of the file or list, without credentials.

        Raises
        ------
        InvalidPrompts
            When there is at least one problem.
        """
        if not self._problems:
            return
        found = sorted(self._problems, key=lambda problem: problem.row)
        if self.full:
            remedy = f"checking stopped after {MAX_PROBLEMS:,} problems; mend these and check again for the rest"
            found.append(RowProblem(0, "", "", remedy))
        raise InvalidPrompts(source, found)

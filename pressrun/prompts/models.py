"""The models that prompt rows may name, and the check of rows by their own model's rules.

Knows nothing of where models lie, nor of what else a row holds (`pressrun.prompts.rules`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pressrun.prompts.chunk import Chunk
from pressrun.prompts.columns import EXTRA_PREFIX, ColumnMatch
from pressrun.prompts.problems import ProblemList
from pressrun.prompts.rules import CheckedRows, ModelLimits, RowRules
from pressrun.prompts.values import is_blank
from pressrun.request import RequestDefaults


@dataclass(frozen=True, slots=True)
class RowModels:
    """The models of one job.

    Parameters
    ----------
    limits : mapping of str to ModelLimits
        What each can draw, by the name that rows call it by; the first is for rows that name none.
    revisions : mapping of str to str
        What pictures get their ids from, by the same names; empty leaves them without.
    adapters : mapping of str to mapping
        Revisions of the job's adapters by name, which are part of the ids of pictures that use them; by model.
    """

    limits: Mapping[str, ModelLimits]
    revisions: Mapping[str, str] = field(default_factory=dict)
    adapters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def are_several(self) -> bool:
        """Whether requests have to say whose they are."""
        return len(self.limits) > 1

    @property
    def main(self) -> str:
        """The model of rows that name none."""
        return next(iter(self.limits))


class ModelRules:
    """The rules for rows of a job, each row by its own model's.

    Parameters
    ----------
    defaults : RequestDefaults
        What a row that leaves a field out gets.
    models : RowModels
        The models.
    problems : ProblemList
        Takes whatever is wrong; the defaults are held against the models that rows name.
    """

    def __init__(self, defaults: RequestDefaults, models: RowModels, problems: ProblemList) -> None:
        self._defaults, self._models, self._problems = defaults, models, problems
        self._rules: dict[str, RowRules] = {}
        if not models.are_several:
            self._of(models.main)  # a default that does not fit is told even when there is no row

    def check(self, chunk: Chunk, match: ColumnMatch) -> CheckedRows:
        """Return a chunk's rows in their normal form; whatever is wrong is noted and stands as None.

        Parameters
        ----------
        chunk : Chunk
            Raw rows.
        match : ColumnMatch
            What the columns mean.

        Returns
        -------
        CheckedRows
            Every row of the chunk, with the field "model" where there are several; of use only when no problem was
            noted. A row whose model is unknown has no field but that.
        """
        names = self._names(chunk, match)
        different = set(names) or {self._models.main}
        only = different.pop() if len(different) == 1 else None
        fields = self._check_each(chunk, match, names) if only is None else self._of(only).check(chunk, match).fields
        return CheckedRows(chunk.rows, fields | {"model": names} if self._models.are_several else fields)

    def _check_each(self, chunk: Chunk, match: ColumnMatch, names: Sequence[str | None]) -> dict[str, list[object]]:
        """Return the fields of rows of several models, put together in the rows' order."""
        places: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            if name is not None:
                places.setdefault(name, []).append(place)
        fields: dict[str, list[object]] = {"user_id": [None] * len(names)}
        for name, at in places.items():
            checked = self._of(name).check(_rows_at(chunk, at), match)
            for field_name, values in checked.fields.items():
                column = fields.setdefault(field_name, [None] * len(names))
                for place, value in zip(at, values, strict=True):
                    column[place] = value
        return fields

    def _names(self, chunk: Chunk, match: ColumnMatch) -> list[str | None]:
        """Return each row's model, None with the problem noted where it is unknown."""
        position = match.fields.get("model")
        if position is None:
            return [self._models.main] * len(chunk.rows)
        names = [self._name(value) for value in chunk.columns[position]]
        for row, value, name in zip(chunk.rows, chunk.columns[position], names, strict=True):
            if name is None:
                self._problems.add(row, chunk.names[position], value, _unknown(value, list(self._models.limits)))
        return names

    def _name(self, value: object) -> str | None:
        if isinstance(value, str) and value.strip() in self._models.limits:
            return value.strip()
        return self._models.main if is_blank(value) else None

    def _of(self, name: str) -> RowRules:
        if name not in self._rules:
            said = name if self._models.are_several else ""
            self._rules[name] = RowRules(self._defaults, self._models.limits[name], self._problems, said)
        return self._rules[name]


def _rows_at(chunk: Chunk, places: Sequence[int]) -> Chunk:
    columns = [[column[place] for place in places] for column in chunk.columns]
    return Chunk(chunk.names, [chunk.rows[place] for place in places], columns)


def _unknown(value: object, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) else []
    guess = f"is no model of this job; did you mean '{near[0]}'?" if near else "is no model of this job."
    return (
        f"{guess} Valid: {', '.join(names)}. Name its folder with --model NAME=LOCATION (in the form: under Models), "
        f"or rename the column '{EXTRA_PREFIX}model' to only carry it along"
    )

"""What each field of a prompt row must be for a given model, and the check of a chunk of rows.

Knows nothing of files and formats, nor of how checked rows become requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pressrun.prompts.chunk import Chunk
from pressrun.prompts.columns import ColumnMatch
from pressrun.prompts.extras import extra_objects
from pressrun.prompts.problems import ProblemList
from pressrun.prompts.values import (
    MAX_SEED,
    BadValue,
    adapter_list,
    choice,
    finite_number,
    is_blank,
    picture_side,
    prompt_text,
    readable_text,
    row_id,
    whole_number,
)
from pressrun.request import SCHEDULERS, RequestDefaults

MAX_STEPS = 1_000
MAX_GUIDANCE_SCALE = 100.0
MAX_IMAGES_PER_PROMPT = 10_000
_FOR_ANY_MODEL = "default"
_FOR_FLOW_MATCHING = "flow-"

Rule = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What a model can draw.

    Parameters
    ----------
    width_px, height_px : int
        Native size, taken when neither the row nor the defaults name one.
    size_multiple_px : int
        Both sides must be multiples of this.
    max_side_px : int
        Longest side allowed.
    flow_matching : bool
        Whether it takes flow-matching schedulers only; otherwise it takes none of them.
    adapters : tuple of str
        Names of the adapters that the job has for it.
    """

    width_px: int
    height_px: int
    size_multiple_px: int
    max_side_px: int = 4096
    flow_matching: bool = False
    adapters: tuple[str, ...] = ()

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Names of the schedulers that fit the model."""
        return tuple(
            name
            for name in SCHEDULERS
            if name == _FOR_ANY_MODEL or name.startswith(_FOR_FLOW_MATCHING) == self.flow_matching
        )


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """Rows whose every field is right and filled in.

    Parameters
    ----------
    rows : sequence of int
        Row numbers.
    fields : dict
        Request field (and "images_per_prompt", "extra") -> values, one a row; a seed of None is still to be derived.
    """

    rows: Sequence[int]
    fields: dict[str, list[Any]]


class RowRules:
    """The rules for rows of one job.

    Parameters
    ----------
    defaults : RequestDefaults
        What a row that leaves a field out gets.
    limits : ModelLimits
        What the model can draw.
    problems : ProblemList
        Takes whatever is wrong, with the defaults themselves first, as row 0.
    model : str
        The model's name where a job has several; "" in others.
    """

    def __init__(self, defaults: RequestDefaults, limits: ModelLimits, problems: ProblemList, model: str = "") -> None:
        self._problems = problems
        self._default_of = f"the default for model '{model}' " if model else "the default "
        self._rules = _rules_by_field(limits)
        self._defaults: dict[str, object] = {"prompt": None, "user_id": None}
        for field, value in asdict(defaults).items():
            self._defaults[field] = value if value is None else self._checked(0, field, value, self._rules[field])
        for field, native_px in (("width_px", limits.width_px), ("height_px", limits.height_px)):
            if self._defaults[field] is None:
                self._defaults[field] = native_px

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
            Every row of the chunk; of use only when no problem was noted.
        """
        fields = {field: self._field(field, chunk, match.fields.get(field)) for field in self._rules}
        names = [name for name, _ in match.extras]
        columns = [chunk.columns[position] for _, position in match.extras]
        fields["extra"] = [*extra_objects(names, columns, chunk.rows, self._problems)]
        self._check_seed_range(chunk, match, fields)
        return CheckedRows(chunk.rows, fields)

    def _field(self, field: str, chunk: Chunk, position: int | None) -> list[object]:
        """Return one field of every row."""
        default, rule = self._defaults[field], self._rules[field]
        if position is None:
            return [default] * len(chunk.rows)
        name, required = chunk.names[position], field == "prompt"
        known: dict[str, object] = {}  # columns repeat their values; each distinct text is checked once
        checked = []
        for row, value in zip(chunk.rows, chunk.columns[position], strict=True):
            if value.__class__ is str and value in known:
                result = known[value]
            elif not required and is_blank(value):
                result = default
            else:
                result = self._checked(row, name, value, rule)
                if isinstance(value, str) and result is not None:
                    known[value] = result
            checked.append(result)
        return checked

    def _checked(self, row: int, name: str, value: object, rule: Rule) -> object:
        """Return a value's normal form, or None with the problem noted."""
        try:
            return rule(value)
        except BadValue as error:
            self._problems.add(row, name, value, f"{'' if row else self._default_of}{error}")
            return None

    def _check_seed_range(self, chunk: Chunk, match: ColumnMatch, fields: dict[str, list[object]]) -> None:
        """Note rows whose last picture would need a seed beyond the largest."""
        name = chunk.names[match.fields["seed"]] if "seed" in match.fields else "seed"
        for row, seed, images in zip(chunk.rows, fields["seed"], fields["images_per_prompt"], strict=True):
            if isinstance(seed, int) and isinstance(images, int) and seed + images - 1 > MAX_SEED:
                remedy = f"leaves no room for {images:,} pictures below {MAX_SEED}; use {MAX_SEED - images + 1} or less"
                self._problems.add(row, name, seed, remedy)


def _rules_by_field(limits: ModelLimits) -> dict[str, Rule]:
    """Return the rule for each field."""
    side: Rule = partial(picture_side, multiple_px=limits.size_multiple_px, max_px=limits.max_side_px)
    return {
        "prompt": prompt_text,
        "negative_prompt": readable_text,
        "seed": partial(whole_number, low=0, high=MAX_SEED),
        "width_px": side,
        "height_px": side,
        "steps": partial(whole_number, low=1, high=MAX_STEPS),
        "guidance_scale": partial(finite_number, low=0.0, high=MAX_GUIDANCE_SCALE),
        "scheduler": partial(_fitting_scheduler, limits=limits),
        "adapters": partial(adapter_list, known=limits.adapters),
        "user_id": row_id,
        "images_per_prompt": partial(whole_number, low=1, high=MAX_IMAGES_PER_PROMPT),
    }


def _fitting_scheduler(value: object, limits: ModelLimits) -> str:
    """Return the scheduler's name; refuse one that is unknown or made for the other kind of model."""
    name = choice(value, SCHEDULERS)
    if name not in limits.schedulers:
        kind = "a flow-matching model" if limits.flow_matching else "no flow-matching model"
        raise BadValue(f"does not fit, this is {kind}. Valid: {', '.join(limits.schedulers)}")
    return name

"""Which column of a prompt file means which field of a request.

Knows nothing of the values in the columns.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pressrun.errors import RowProblem
from pressrun.prompts.problems import shortened

# Every accepted column name, in lower case with "_" for "-" and spaces, and the field it means.
FIELD_OF_NAME = {
    "prompt": "prompt",
    "text": "prompt",
    "caption": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "width": "width_px",
    "width_px": "width_px",
    "height": "height_px",
    "height_px": "height_px",
    "steps": "steps",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance_scale",
    "guidance": "guidance_scale",
    "cfg": "guidance_scale",
    "scheduler": "scheduler",
    "adapters": "adapters",
    "model": "model",
    "id": "user_id",
    "user_id": "user_id",
    "images_per_prompt": "images_per_prompt",
}
# Names that other tools have for a field. They are questioned rather than taken: they may mean something else here.
_FOREIGN_NAMES = {
    "num_images_per_prompt": "images_per_prompt",
    "num_images": "images_per_prompt",
    "n_images": "images_per_prompt",
    "samples": "images_per_prompt",
    "cfg_scale": "guidance_scale",
    "num_steps": "steps",
    "inference_steps": "steps",
    "sampling_steps": "steps",
    "negative": "negative_prompt",
    "neg_prompt": "negative_prompt",
    "sampler": "scheduler",
    "sampler_name": "scheduler",
    "lora": "adapters",
    "loras": "adapters",
}
_HONEST_NAMES = {"mode"}  # resembles "model" and means something else
EXTRA_PREFIX = "x_"
_RESEMBLED = [name for name in FIELD_OF_NAME if len(name) > 3]  # "id" and "cfg" resemble too many honest names


@dataclass(frozen=True, slots=True)
class ColumnMatch:
    """What the columns of a file mean.

    Parameters
    ----------
    fields : dict
        Request field -> position of its column.
    extras : tuple of (str, int)
        Name and position of every other column, names sorted.
    problems : tuple of RowProblem
        What is wrong with the columns; all speak of the file as a whole.
    """

    fields: dict[str, int]
    extras: tuple[tuple[str, int], ...]
    problems: tuple[RowProblem, ...]


@lru_cache(maxsize=8)
def match_columns(names: tuple[str, ...]) -> ColumnMatch:
    """Return what each column means.

    Parameters
    ----------
    names : tuple of str
        Column names in file order, as the file spells them.

    Returns
    -------
    ColumnMatch
        With no "prompt" among its fields when the file has no such column.
    """
    fields: dict[str, int] = {}
    extras: dict[str, int] = {}
    problems: list[RowProblem] = []
    for position, name in enumerate(names):
        field = FIELD_OF_NAME.get(_plain(name))
        taken = extras.get(name) if field is None else fields.get(field)
        if taken is not None:
            problems.append(_clash(names[taken], name, field))
        elif field is not None:
            fields[field] = position
        else:
            extras[name] = position
    guesses = {name: guess for name in extras if (guess := _resembled_name(name))}
    problems += [_question(name, guess) for name, guess in guesses.items()]
    problems += [_unnamed(position) for name, position in extras.items() if not name.strip()]
    problems += _missing_prompt(names, fields, extras, guesses)
    return ColumnMatch(fields, tuple(sorted(extras.items())), tuple(problems))


def _plain(name: str) -> str:
    """Return a column name as `FIELD_OF_NAME` spells it."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _resembled_name(name: str) -> str | None:
    """Return the accepted name that an unknown one is probably a misspelling of, or another tool's word for."""
    plain = _plain(name)
    if plain.startswith(EXTRA_PREFIX) or plain in _HONEST_NAMES:
        return None
    if plain in _FOREIGN_NAMES:
        return _FOREIGN_NAMES[plain]
    cutoff = 0.75 if len(plain) <= 5 else 0.8  # one wrong letter weighs more in a short name
    near = difflib.get_close_matches(plain, _RESEMBLED, n=3, cutoff=cutoff)
    return next((guess for guess in near if abs(len(guess) - len(plain)) <= 2), None)


def _missing_prompt(
    names: Sequence[str], fields: dict[str, int], extras: dict[str, int], guesses: dict[str, str]
) -> list[RowProblem]:
    """Return the complaint that no column holds prompts, or take the misspelt one so that its rows get checked."""
    if "prompt" in fields:
        return []
    for name, guess in guesses.items():
        if FIELD_OF_NAME[guess] == "prompt":
            fields["prompt"] = extras.pop(name)
            return []
    shown = ", ".join(repr(shortened(name)) for name in names[:20]) or "none"
    remedy = f"there is no 'prompt' column; columns found: {shown}. Name the column that holds the prompts 'prompt'"
    separator = next((mark for mark in ";\t" if len(names) == 1 and mark in names[0]), None)
    if separator:
        remedy += f"; the columns look separated by {separator!r}: save with commas (.csv) or tabs (.tsv)"
    return [RowProblem(0, "", "", remedy)]


def _clash(first: str, second: str, field: str | None) -> RowProblem:
    """Return the complaint about two columns for one thing."""
    what = f"both mean '{field}'" if field else "have the same name"
    return RowProblem(
        0, "", shortened(second), f"columns '{shortened(first)}' and '{shortened(second)}' {what}; keep one of them"
    )


def _question(name: str, guess: str) -> RowProblem:
    """Return the question about a column that looks misspelt."""
    shown = shortened(name)
    remedy = f"unknown column, is it '{guess}'? Rename it '{guess}', or '{EXTRA_PREFIX}{shown}' to carry it along"
    return RowProblem(0, "", shown, remedy)


def _unnamed(position: int) -> RowProblem:
    """Return the complaint about a column without a name."""
    return RowProblem(0, "", "", f"column {position + 1} has no name; name it in the header or delete it")

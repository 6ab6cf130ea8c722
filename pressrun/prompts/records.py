"""Prompts as records: JSON Lines, or a list in Python.

Knows nothing of files, of what the columns mean, or of which values are right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from pressrun.prompts.chunk import CHUNK_ROWS, MAX_COLUMNS, Chunk, too_many_columns
from pressrun.prompts.problems import ProblemList, shortened

_JSON_FAILURES = (ValueError, RecursionError)  # ValueError: syntax, doubled keys, numbers of 5,000 digits


def read_json_lines(lines: Iterator[str], problems: ProblemList) -> Iterator[Chunk]:
    """Yield the rows of a JSON Lines text; blank lines are counted but skipped.

    Parameters
    ----------
    lines : iterator of str
        One JSON object each.
    problems : ProblemList
        Takes malformed lines.

    Yields
    ------
    Chunk
        Values of any JSON type.
    """
    return _record_chunks(_json_records(lines, problems), problems)


def _json_records(lines: Iterator[str], problems: ProblemList) -> Iterator[tuple[int, object]]:
    """Yield each line's JSON value with its number."""
    decoder = json.JSONDecoder(object_pairs_hook=_object_of_pairs)
    for row, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        try:
            yield row, decoder.decode(text)
        except json.JSONDecodeError as error:
            remedy = f"malformed JSON at position {error.pos + 1} ({error.msg}); write one JSON object on each line"
            problems.add(row, "", text, remedy)
        except _JSON_FAILURES as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else shortened(f"{error}")
            remedy = f"malformed JSON ({reason}); write one plain JSON object on each line"
            problems.add(row, "", text, remedy)


def _object_of_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object; refuse a doubled key, of which JSON readers silently keep one."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return record


def read_list(items: Iterable[object], problems: ProblemList) -> Iterator[Chunk]:
    """Yield the rows of a list of prompts or of mappings from column name to value.

    Parameters
    ----------
    items : iterable
        str or Mapping each.
    problems : ProblemList
        Takes items that are neither.

    Yields
    ------
    Chunk
        Values as given.
    """
    records = ({"prompt": item} if isinstance(item, str) else item for item in items)
    return _record_chunks(enumerate(records, start=1), problems)


def _record_chunks(numbered: Iterator[tuple[int, object]], problems: ProblemList) -> Iterator[Chunk]:
    """Yield mappings as chunks; columns are all those that any mapping so far has named."""
    sound = _mappings(numbered, problems)
    names: dict[str, None] = {}
    while some := list(islice(sound, CHUNK_ROWS)):
        for _, record in some:
            names.update(dict.fromkeys(record))
            if len(names) > MAX_COLUMNS:
                too_many_columns(len(names), problems)
                return
        columns = [[record.get(name) for _, record in some] for name in names]
        yield Chunk(tuple(names), [row for row, _ in some], columns)


def _mappings(
    numbered: Iterator[tuple[int, object]], problems: ProblemList
) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the records that are mappings from column names; note the others."""
    for row, record in numbered:
        if isinstance(record, Mapping) and all(isinstance(name, str) for name in record):
            yield row, record
        else:
            remedy = f"must be an object of column names and values, not {type(record).__name__}"
            problems.add(row, "", record, f'{remedy}; for example {{"prompt": "a red circle"}}')
        if problems.full:
            return

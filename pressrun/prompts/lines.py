"""Prompts in text files: plain lines, comma- or tab-separated rows.

Knows nothing of files, of what the columns mean, or of which values are right.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice

from pressrun.prompts.chunk import CHUNK_ROWS, MAX_COLUMNS, Chunk, too_many_columns
from pressrun.prompts.problems import ProblemList


def read_plain_lines(lines: Iterator[str]) -> Iterator[Chunk]:
    """Yield one prompt a line; blank lines are counted but skipped.

    Parameters
    ----------
    lines : iterator of str
        Lines with their line ends.

    Yields
    ------
    Chunk
        With the one column "prompt".
    """
    numbered = ((row, line.rstrip("\r\n")) for row, line in enumerate(lines, start=1) if line.strip())
    while some := list(islice(numbered, CHUNK_ROWS)):
        rows, prompts = zip(*some, strict=True)
        yield Chunk(("prompt",), rows, [prompts])


def read_separated(lines: Iterator[str], problems: ProblemList, separator: str) -> Iterator[Chunk]:
    """Yield the rows of a CSV or TSV text; blank lines are counted but skipped.

    Parameters
    ----------
    lines : iterator of str
        Lines with their line ends.
    problems : ProblemList
        Takes malformed rows.
    separator : str
        "," or tab.

    Yields
    ------
    Chunk
        Every value is a str; the last chunk has no rows, so that a header standing alone is checked too.
    """
    numbered = _numbered_rows(lines, separator, problems)
    _, header = next(numbered, (0, []))
    if not header:
        return
    if len(header) > MAX_COLUMNS:
        too_many_columns(len(header), problems)
        return
    while some := list(islice(numbered, CHUNK_ROWS)):
        rows, cells = zip(*some, strict=True)
        yield Chunk(tuple(header), rows, list(zip(*cells, strict=True)))
    yield Chunk(tuple(header), (), [()] * len(header))


def _numbered_rows(lines: Iterator[str], separator: str, problems: ProblemList) -> Iterator[tuple[int, list[str]]]:
    """Yield the header as row 0, then each row that has as many fields, with its number; note the others."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    row = line = width = 0
    while not problems.full:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(row, "", "", _malformed(error, line + 1))
            if row == 0 or reader.line_num - line > 1:
                return  # without a header, or after an open quote swallowed rows, the rest cannot be told apart
            cells = []
        width = width or len(cells)
        if len(cells) == width > 0:
            yield row, cells
        elif cells:
            problems.add(row, "", separator.join(cells[:10]), _wrong_width(len(cells), width, line + 1))
        row += 1 if width else 0
        line = reader.line_num


def _wrong_width(count: int, width: int, line: int) -> str:
    """Return what is wrong with a row that has more or fewer fields than the header."""
    remedy = "quote fields that hold a separator" if count > width else "add the missing separators"
    return f"has {count:,} field{'s' if count != 1 else ''}, the header has {width:,} (file line {line:,}); {remedy}"


def _malformed(error: csv.Error, line: int) -> str:
    """Return what is wrong with a row that the CSV rules cannot take apart."""
    if "unexpected end" in str(error):
        return f'a quote opened at file line {line:,} is never closed; close it, or double it ("") inside a field'
    if "field limit" in str(error):
        size = csv.field_size_limit()
        return f"a field at file line {line:,} is longer than {size:,} characters; shorten it or close its quote"
    return f'malformed at file line {line:,} ({error}); double ("") every quote that stands inside a field'

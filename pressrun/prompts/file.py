"""Prompts read from a file or a list into requests, or refused with everything that is wrong.

Knows nothing of models beyond their limits, nor of what is done with the requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import pyarrow as pa

from pressrun.adapter_use import NO_ADAPTERS
from pressrun.location import Location
from pressrun.plan import name_images
from pressrun.prompts.chunk import Chunk
from pressrun.prompts.columns import match_columns
from pressrun.prompts.ids import IdRegister
from pressrun.prompts.lines import read_plain_lines, read_separated
from pressrun.prompts.models import ModelRules, RowModels
from pressrun.prompts.parquet import read_parquet
from pressrun.prompts.problems import ProblemList
from pressrun.prompts.records import read_json_lines, read_list
from pressrun.prompts.request_rows import request_batches
from pressrun.prompts.rules import CheckedRows, ModelLimits
from pressrun.prompts.text import PromptBytes, text_lines
from pressrun.request import MODELS_SCHEMA, REQUEST_SCHEMA, RequestDefaults
from pressrun.spill import spilled

TEXT_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
ENDINGS = (*TEXT_ENDINGS, ".parquet", *(f"{ending}.gz" for ending in TEXT_ENDINGS))
MAX_REQUESTS = 50_000_000  # about 15 GB on disk

PromptSource = Location | Sequence[str | Mapping[str, object]]


def read_requests(source: PromptSource, defaults: RequestDefaults, models: RowModels | ModelLimits) -> pa.Table:
    """Return every picture that a prompt file or list asks for.

    Parameters
    ----------
    source : Location or sequence of str or mapping
        A file with one of `ENDINGS`, or prompts, or mappings from column name to value.
    defaults : RequestDefaults
        What a row that leaves a field out gets.
    models : RowModels or ModelLimits
        What rows may name, can draw, and get their pictures' ids from; limits alone are those of a nameless model
        that gives no ids.

    Returns
    -------
    pyarrow.Table
        `REQUEST_SCHEMA`, or `MODELS_SCHEMA` where there are several models, in file order, at least one row; mapped
        from disk when it is large.

    Raises
    ------
    InvalidPrompts
        When anything is wrong, with every problem found.
    """
    known = models if isinstance(models, RowModels) else RowModels({"": models})
    problems = ProblemList()
    reader = _Reader(source, ModelRules(defaults, known, problems), problems)
    batches = _named(reader.request_batches(), known) if known.revisions else reader.request_batches()
    table = spilled(batches, MODELS_SCHEMA if known.are_several else REQUEST_SCHEMA)
    problems.raise_if_any(str(source) if isinstance(source, Location) else "the list of prompts")
    return table


def _named(batches: Iterator[pa.RecordBatch], models: RowModels) -> Iterator[pa.RecordBatch]:
    revisions, adapters = models.revisions, models.adapters
    if not models.are_several:
        revisions, adapters = {"": revisions[models.main]}, {"": adapters.get(models.main, NO_ADAPTERS)}
    for batch in batches:
        yield from name_images(pa.Table.from_batches([batch]), revisions, adapters).to_batches()


class _Reader:
    """One pass over one source."""

    def __init__(self, source: PromptSource, rules: ModelRules, problems: ProblemList) -> None:
        self._source, self._rules, self._problems = source, rules, problems
        self._ids = IdRegister()

    def request_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the requests of a source without problems; after the first problem only look for more."""
        count = 0
        for checked in self._checked_rows():
            if self._problems:
                continue
            count += sum(checked.fields["images_per_prompt"])
            if count > MAX_REQUESTS:
                remedy = f"asks for {count:,} pictures or more, one job takes {MAX_REQUESTS:,}; split the file"
                self._problems.add(0, "", "", remedy)
                return
            yield from request_batches(checked)

    def _checked_rows(self) -> Iterator[CheckedRows]:
        """Yield the rows chunk by chunk, then note what only the whole source shows."""
        names: tuple[str, ...] = ()
        row_count = 0
        for chunk in _chunks(self._source, self._problems):
            match = match_columns(chunk.names)
            for problem in match.problems:
                self._problems.add(problem.row, problem.column, problem.value, problem.remedy)
            if "prompt" not in match.fields or self._problems.full:
                break
            names, row_count = chunk.names, row_count + len(chunk.rows)
            checked = self._rules.check(chunk, match)
            self._ids.add(checked.fields["user_id"], chunk.rows)
            yield checked
        if names and (position := match.fields.get("user_id")) is not None:
            self._ids.note_duplicates(names[position], self._problems)
        if not row_count and not self._problems:
            self._problems.add(0, "", "", _no_rows(names))


def _no_rows(names: tuple[str, ...]) -> str:
    """Return what is wrong with a source without a row."""
    if names:
        return f"has a header ({', '.join(names[:20])}) but no rows; add at least one"
    return "is empty; write at least one prompt, in CSV below a header with the column 'prompt'"


def _chunks(source: PromptSource, problems: ProblemList) -> Iterator[Chunk]:
    """Return the source's rows as they stand there."""
    if isinstance(source, str):
        problems.add(0, "", source, "is one text; pass a list of prompts, or Location(path) for a file")
        return iter(())
    if not isinstance(source, Location):
        return read_list(source, problems)
    path = source.url.partition("?")[0] if "://" in source.url else source.url
    ending = next((ending for ending in ENDINGS if path.lower().endswith(ending)), None)
    if ending is None:
        problems.add(0, "", "", f"the file's ending says no known format; valid endings: {', '.join(ENDINGS)}")
        return iter(())
    content = PromptBytes(source, gzipped=ending.endswith(".gz"))
    if ending == ".parquet":
        return read_parquet(content, problems)
    return _READERS[ending.removesuffix(".gz")](text_lines(content, problems), problems)


_READERS: dict[str, Callable[[Iterator[str], ProblemList], Iterator[Chunk]]] = {
    ".csv": partial(read_separated, separator=","),
    ".tsv": partial(read_separated, separator="\t"),
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".txt": lambda lines, _: read_plain_lines(lines),
}

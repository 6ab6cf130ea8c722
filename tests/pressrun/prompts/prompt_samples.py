"""Prompt files made on the spot, and what reading them gives."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pressrun.errors import InvalidPrompts, RowProblem
from pressrun.location import Location
from pressrun.prompts.file import read_requests
from pressrun.prompts.rules import ModelLimits
from pressrun.request import REQUEST_SCHEMA, RequestDefaults

LIMITS = ModelLimits(width_px=64, height_px=48, size_multiple_px=8, adapters=("ink", "paper"))
DEFAULTS = RequestDefaults()
PROMPTS = ["a small red circle, left", 'a "blue" star', "zwei Kreise\nauf Grün", "雪の山 ❄"]


def read(source: Location | Sequence[str | Mapping[str, object]], defaults: RequestDefaults = DEFAULTS) -> pa.Table:
    table = read_requests(source, defaults, LIMITS)
    table.validate(full=True)
    assert table.schema == REQUEST_SCHEMA
    return table


def read_bytes(name: str, content: bytes) -> pa.Table:
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        return read(Location(f"{folder}/{name}"))


def file_problems(name: str, content: bytes | str) -> tuple[RowProblem, ...]:
    with pytest.raises(InvalidPrompts) as caught:
        read_bytes(name, content if isinstance(content, bytes) else content.encode())
    return caught.value.problems


def only_remedy(name: str, content: bytes | str) -> str:
    (problem,) = file_problems(name, content)
    return problem.remedy


def as_csv(records: Sequence[Mapping[str, object]], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0], delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def as_json_lines(records: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def as_parquet(records: Sequence[Mapping[str, object]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([*records]), sink)
    return sink.getvalue()


CONTENTS = {
    ".csv": as_csv,
    ".tsv": lambda records: as_csv(records, "\t"),
    ".jsonl": as_json_lines,
    ".ndjson": as_json_lines,
    ".parquet": as_parquet,
}


def request_of(
    row: Mapping[str, object], defaults: RequestDefaults | None = None, limits: ModelLimits = LIMITS
) -> dict[str, object]:
    request: dict[str, object] = read_requests(
        [{"prompt": "a star", **row}], defaults or RequestDefaults(), limits
    ).to_pylist()[0]
    return request


def row_problems(
    *rows: Mapping[str, object], defaults: RequestDefaults | None = None, limits: ModelLimits = LIMITS
) -> tuple[RowProblem, ...]:
    with pytest.raises(InvalidPrompts) as caught:
        read_requests(rows, defaults or RequestDefaults(), limits)
    return caught.value.problems

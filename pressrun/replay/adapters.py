"""The adapters that drew sampled pictures, found where their runs found them, or where they are now.

Knows nothing of models or workers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pressrun import layout
from pressrun.adapter_use import read_used_revisions
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter, read_adapter

Record = Mapping[str, Any]
Drawn = tuple[str, str]  # run id and model revision
_Wanted = tuple[str, str]  # name and revision


def find_adapters(
    rows: pa.Table, records: Mapping[str, Record], places: Mapping[str, Location]
) -> dict[Drawn, tuple[Adapter, ...]]:
    """Return the adapters that pictures were drawn with, by run and model: not every adapter fits every model.

    Parameters
    ----------
    rows : pyarrow.Table
        Manifest rows of the pictures.
    records : mapping
        What each run says of itself.
    places : mapping
        Where adapters are now, by name; those left out are where the records say.

    Raises
    ------
    InvalidModel
        When one cannot be found, or is not the one that drew the pictures.
    """
    wanted: dict[Drawn, dict[_Wanted, None]] = {}
    columns = (rows.column(name).to_pylist() for name in ("run_id", "model_revision", "provenance"))
    for run_id, revision, text in zip(*columns, strict=True):
        wanted.setdefault((run_id, revision), {}).update(dict.fromkeys(read_used_revisions(_used(text)).items()))
    return {
        drawn: tuple(_find(wish, drawn[0], records[drawn[0]], places) for wish in sorted(wishes))
        for drawn, wishes in wanted.items()
    }


def _used(provenance: str) -> str:
    try:
        record = json.loads(provenance)
    except ValueError:  # told by whoever needs the rest of it
        return ""
    return str(record.get("adapters", "")) if isinstance(record, dict) else ""


def _find(wanted: _Wanted, run_id: str, record: Record, places: Mapping[str, Location]) -> Adapter:
    name, revision = wanted
    recorded = record.get("adapters", {}).get(name)
    candidates = [places[name]] if name in places else []
    candidates += [Location(recorded["location"])] if recorded is not None else []
    if not candidates:
        raise InvalidModel(
            f"{layout.run(run_id, 'job.json')} does not say where the adapter {name!r} was; give it with "
            f"--adapter {name}=FILE."
        )
    found = []
    for location in candidates:
        try:
            adapter, _ = read_adapter(name, location)
        except InvalidModel as error:
            found.append(str(error))
            continue
        if adapter.revision == revision:
            return adapter
        found.append(f"{location} has revision {adapter.revision[:12]}.")
    raise InvalidModel(
        f"Pictures were drawn with revision {revision[:12]} of the adapter {name!r}: {' '.join(found)} Give the file "
        f"with those weights with --adapter {name}=FILE."
    )

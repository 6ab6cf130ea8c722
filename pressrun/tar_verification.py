"""What is wrong with a tar of pictures: read once, from its beginning to its end, and compared with its rows.

Knows nothing of the rest of the collection.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pressrun import layout
from pressrun.read_ahead import Row, each_row
from pressrun.storage import Store
from pressrun.tar_path import TarPath
from pressrun.tar_shards import TOLD_FIELDS, texts_of

CHECKED_IN_TARS = (*TOLD_FIELDS, "path", "sha256", "size_bytes")
_FlawFields = tuple[str, str, str]  # kind, name, detail: as of `pressrun.verification.Flaw`


@dataclass(slots=True)
class TarContent:
    """What looking at a tar found.

    Parameters
    ----------
    size_bytes : int
        Bytes of the pictures that were read and hashed.
    flaws : list of (str, str, str)
        Kind, name and detail; a name is a row's path, or that of a member which no row names.
    """

    size_bytes: int = 0
    flaws: list[_FlawFields] = field(default_factory=list)


def in_tars(rows: pa.Table) -> pa.ChunkedArray:
    """Return for each row whether its picture is a member of a tar of this collection."""
    return pc.match_substring_regex(rows.column("path"), f"^({layout.SHARDS}|{layout.RECEIPTS})/[^/]+\\.tar#")


def by_tar(rows: pa.Table) -> dict[str, list[Row]]:
    """Return the rows whose pictures are in tars, by the tar's name."""
    found: dict[str, list[Row]] = {}
    for row in each_row([rows.filter(in_tars(rows))]):
        found.setdefault(row["path"].partition("#")[0], []).append(row)
    return found


def check_tar(store: Store, name: str, rows: list[Row]) -> TarContent:
    """Compare a tar with all rows whose pictures it should hold: their bytes and places, request and prompt beside.

    Parameters
    ----------
    store : Store
        The collection.
    name : str
        The tar.
    rows : list of dict
        With the columns `CHECKED_IN_TARS`.
    """
    content = TarContent()
    wrong: dict[str, str] = {}  # by path, the first that is wrong with a sample
    lacking = {member: row for row in rows for member in (_picture(row).member, *texts_of(row))}
    try:
        for place, data in _members(store, name):
            row = lacking.pop(place.member, None)
            if row is None:
                content.flaws += _stranger(place)
                continue
            content.size_bytes += len(data) if place.member == _picture(row).member else 0
            if difference := _difference(place, data, row):
                wrong.setdefault(row["path"], difference)
    except FileNotFoundError:
        return TarContent(flaws=[("missing", row["path"], "the manifest has a row, there is no tar") for row in rows])
    except tarfile.TarError as damage:
        wrong = {row["path"]: f"the tar cannot be read so far: {damage}" for row in lacking.values()} | wrong
    for member, row in lacking.items():
        wrong.setdefault(row["path"], f"there is no {member} in the tar")
    content.flaws += [("changed", path, detail) for path, detail in wrong.items()]
    return content


def _members(store: Store, name: str) -> Iterator[tuple[TarPath, bytes]]:
    with store.reading(name) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            data = file.read() if file else b""
            yield TarPath(name, member.offset_data, len(data), member.name), data


def _picture(row: Row) -> TarPath:
    place = TarPath.of(row["path"])
    assert place is not None, "by_tar chose it"
    return place


def _stranger(place: TarPath) -> list[_FlawFields]:
    """Return the flaw that a member without a row is; in a batch's tar it is none, since those do not last."""
    if not place.tar.startswith(f"{layout.SHARDS}/"):
        return []
    return [("orphan", str(place), f"a member of {place.size_bytes} bytes that no row names")]


def _difference(place: TarPath, data: bytes, row: Row) -> str:
    """Return how a member differs from what the manifest says; "" when it does not."""
    if place.member != _picture(row).member:  # of a batch's tar, texts are not looked at: they are written anew
        is_right = place.tar.startswith(f"{layout.RECEIPTS}/") or data == texts_of(row)[place.member]
        return "" if is_right else f"{place.member} is not what the manifest says"
    digest = hashlib.sha256(data).hexdigest()
    if digest != row["sha256"]:
        return f"sha256 is {digest[:12]}..., the manifest says {row['sha256'][:12]}..."
    if len(data) != row["size_bytes"]:
        return f"the picture has {len(data)} bytes, the manifest says {row['size_bytes']}"
    return "" if place == _picture(row) else f"the picture is at {place}, the manifest says otherwise"

"""The names of everything in a collection.

Knows nothing of what the objects hold. Every path in a collection is made here.
"""

from __future__ import annotations

import re
from typing import Literal

# How pictures stand in a collection: an object each, or in tars.
LayoutName = Literal["files", "webdataset"]

COLLECTION = "collection.json"
WRITER = "writer.json"
CONTACT_SHEET = "contact-sheet.png"
REPORT = "report.html"

IMAGES = "images"
SHARDS = "shards"
MANIFEST = "manifest"
RECEIPTS = "receipts"
FAILURES = "failures"
PROFILES = "profiles"
INDEX = "index"
RUNS = "runs"
REPLAYS = "replays"
_SHARD = re.compile(rf"{SHARDS}/(?P<part_id>[0-9a-f]+)-\d{{5,}}\.tar")


def image(image_id: str, ending: str = "png") -> str:
    """Return the name of a picture; two hex digits of folder keep listings short."""
    return f"{IMAGES}/{image_id[:2]}/{image_id}.{ending}"


def batch_tar(batch_id: str) -> str:
    """Return the name of the tar with a batch's pictures, where it waits beside its receipt."""
    return f"{RECEIPTS}/{batch_id}.tar"


def shard(part_id: str, number: int) -> str:
    """Return the name of a tar with pictures of a manifest part."""
    return f"{SHARDS}/{part_id}-{number:05}.tar"


def part_of_shard(name: str) -> str | None:
    """Return the name of the manifest part whose pictures a tar holds; None for anything else than such a tar."""
    found = _SHARD.fullmatch(name)
    return None if found is None else part(found["part_id"])


def receipt(batch_id: str) -> str:
    """Return the name of a batch's receipt."""
    return f"{RECEIPTS}/{batch_id}.parquet"


def part(part_id: str) -> str:
    """Return the name of a manifest part."""
    return f"{MANIFEST}/part-{part_id}.parquet"


def failures(part_id: str) -> str:
    """Return the name of a part of dead letters."""
    return f"{FAILURES}/part-{part_id}.parquet"


def profile(key: str) -> str:
    """Return the name of a remembered batch-size measurement."""
    return f"{PROFILES}/{key}.json"


def run(run_id: str, name: str) -> str:
    """Return the name of one of a run's own records."""
    return f"{RUNS}/{run_id}/{name}"


def replay(replay_id: str) -> str:
    """Return the name of what a replay saw."""
    return f"{REPLAYS}/{replay_id}.parquet"
